//! A gateway's provisioning function on a simulated Twilio, and helpers for the tests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use flexgate::base::clock_rng::{ClockRng, SystemRng};
use flexgate::base::outbound::{Deadline, http_client, send};
use flexgate::base::settings::Reader;
use flexgate::platform::Platform;
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;
use flexgate::web::Edge;
use flexgate_provision::{App, NewToken, Settings, router};
use flexgate_simulator::{Config, Simulator};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub struct World {
    pub simulator: Simulator,
    pub router: Router,
    pub token: String,
    pub folder: TempDir,
    settings: Settings,
    control: reqwest::Client,
}

/// A response.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answered {
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// Asserts a SCIM error body with this status and `scimType` (`-` for none).
    #[track_caller]
    pub fn refused(self, status: u16, scim_type: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/scim+json");
        assert!(self.headers.contains_key("x-request-id"));
        assert_eq!(self.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
        assert_eq!(self.body["status"], json!(status.to_string()));
        assert_eq!(self.body["scimType"].as_str().unwrap_or("-"), scim_type, "{}", self.body);
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

pub async fn world() -> World {
    world_with(&[]).await
}

pub async fn world_with(variables: &[(&str, &str)]) -> World {
    world_over(Config::default(), variables).await
}

pub async fn world_over(config: Config, variables: &[(&str, &str)]) -> World {
    let simulator = Simulator::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let account = simulator.account();
    let made = NewToken::generate("test", &SystemRng);
    let write = |name: &str, document: Value| std::fs::write(folder.path().join(name), document.to_string()).unwrap();
    write("twilio.json", json!({ "accountSid": account.account_sid, "authToken": account.auth_token }));
    write("scim-tokens.json", serde_json::to_value(&made.hashes).unwrap());
    let issuers = json!([{ "issuer": simulator.issuer(), "audiences": ["flexgate"] }]).to_string();
    let own = [
        ("TWILIO_ACCOUNT_SID", account.account_sid.clone()),
        ("TWILIO_INSTANCE_SID", account.instance_sid.clone()),
        ("TWILIO_SECRET_ID", "twilio".to_owned()),
        ("SCIM_TOKENS_SECRET_ID", "scim-tokens".to_owned()),
        ("FLEXGATE_TWILIO_URL", simulator.url().to_owned()),
        ("FLEXGATE_PUBLIC_URL", "https://gate.example.com".to_owned()),
        ("FLEXGATE_SECRETS", format!("files:{}", folder.path().display())),
        ("FLEXGATE_STORE", format!("sqlite:{}", folder.path().join("flexgate.db").display())),
        ("FLEXGATE_ISSUERS", issuers),
        ("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Flex Supervisors": "supervisor", "Flex Admins": "admin"}"#.to_owned()),
        ("FLEXGATE_SCIM_ATTRIBUTES", "language.string,skill_level.int".to_owned()),
    ];
    let mut reader = Reader::empty().with(own).with(variables.iter().copied());
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let router = assemble(&settings);
    let token = made.token.expose_secret().to_owned();
    World { simulator, router, token, folder, settings, control: http_client(&[]).unwrap() }
}

fn assemble(settings: &Settings) -> Router {
    let platform = Platform::new(&settings.owner.common, ClockRng::system()).unwrap();
    let edge = Edge::new("provision", &settings.owner.common, platform.clock_rng.clone());
    edge.assemble(router(App::new(settings, &platform)))
}

impl World {
    /// The platform that the function runs on.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.settings.owner.common, ClockRng::system()).unwrap()
    }

    /// The people ledger, as another source would use it.
    pub fn ledger(&self) -> Ledger {
        let (owner, platform) = (&self.settings.owner, self.platform());
        let flex = Arc::new(platform.flex(&owner.common, &owner.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        Ledger::of_platform(&platform, provisioning, &owner.policy)
    }

    /// Replaces the function with a new instance that has nothing in memory.
    pub fn restarted(&mut self) {
        self.router = assemble(&self.settings);
    }

    pub async fn call(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answered { status, headers, body }
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/scim/v2{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/scim+json; charset=utf-8");
        request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap()
    }

    pub async fn send(&self, method: &str, path: &str, body: Value) -> Answered {
        self.call(self.request(method, path, Some(&body))).await
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.call(self.request("GET", path, None)).await
    }

    pub async fn delete(&self, path: &str) -> Answered {
        self.call(self.request("DELETE", path, None)).await
    }

    pub async fn patch(&self, path: &str, operations: Value) -> Answered {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        self.send("PATCH", path, body).await
    }

    /// Creates a user through SCIM; returns its `id`.
    pub async fn user(&self, name: &str) -> String {
        let body = json!({ "userName": name, "displayName": format!("The {name}"),
            "emails": [{ "value": format!("{name}@example.com"), "primary": true }] });
        let made = self.send("POST", "/Users", body).await.is(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Creates a user directly at Twilio; returns its SID.
    pub async fn at_twilio(&self, name: &str, roles: &[&str]) -> String {
        let body = json!({ "username": name, "email": "some@example.com", "full_name": "Some One", "roles": roles, "worker": {} });
        let account = self.simulator.account();
        let path = format!("/flex-api/v4/Instances/{}/Users/Provision", account.instance_sid);
        let mut request = self.to_simulator(Method::POST, &path, &body);
        let pair = format!("{}:{}", account.account_sid, account.auth_token);
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        request.headers_mut().insert("authorization", basic.parse().unwrap());
        let answer = send(&self.control, request, Deadline::after(Duration::from_secs(10)), 1 << 20).await.unwrap();
        let user: Value = serde_json::from_slice(&answer.body).unwrap();
        user["flex_user_sid"].as_str().unwrap().to_owned()
    }

    fn to_simulator(&self, method: Method, path: &str, body: &Value) -> reqwest::Request {
        let url = format!("{}{path}", self.simulator.url()).parse().unwrap();
        let mut request = reqwest::Request::new(method, url);
        if !body.is_null() {
            request.headers_mut().insert("content-type", "application/json".parse().unwrap());
            *request.body_mut() = Some(body.to_string().into());
        }
        request
    }

    pub async fn sim(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.to_simulator(method, &format!("/__sim/{path}"), &body);
        let answer = send(&self.control, request, Deadline::after(Duration::from_secs(30)), 64 << 20).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {}", answer.status);
        if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() }
    }

    pub async fn fault(&self, fault: Value) {
        self.sim(Method::POST, "faults", fault).await;
    }

    pub async fn no_faults(&self) {
        self.sim(Method::DELETE, "faults", Value::Null).await;
    }

    /// Twilio's user with this SID, with all the simulator's fields.
    pub async fn twilio_user(&self, sid: &str) -> Value {
        let users = self.sim(Method::GET, "users", Value::Null).await;
        let users = users["users"].as_array().or_else(|| users.as_array()).unwrap().clone();
        users.into_iter().find(|user| user["flex_user_sid"] == sid).unwrap()
    }

    pub async fn calls(&self) -> Vec<String> {
        let journal = self.sim(Method::GET, "requests?service=flex-api", Value::Null).await;
        let calls = journal["requests"].as_array().unwrap().iter();
        calls.map(|call| format!("{} {}", call["method"].as_str().unwrap(), call["path"].as_str().unwrap())).collect()
    }

    pub async fn forget_calls(&self) {
        self.sim(Method::DELETE, "requests", Value::Null).await;
    }

    /// Makes every write to a table of the store fail, until `mend_table`.
    pub fn break_table(&self, table: &str) {
        self.sql(&format!(
            "CREATE TRIGGER broken_insert BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END;
             CREATE TRIGGER broken_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END;"
        ));
    }

    pub fn mend_table(&self) {
        self.sql("DROP TRIGGER broken_insert; DROP TRIGGER broken_update;");
    }

    /// Makes every write fail that records that a group member's role has been announced.
    pub fn break_announcement(&self) {
        self.sql(
            "CREATE TRIGGER broken_announcement BEFORE INSERT ON scim_members WHEN NEW.conferred IS NOT NULL
             BEGIN SELECT RAISE(ABORT, 'broken'); END;",
        );
    }

    pub fn mend_announcement(&self) {
        self.sql("DROP TRIGGER broken_announcement;");
    }

    fn sql(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.folder.path().join("flexgate.db")).unwrap();
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        db.execute_batch(sql).unwrap();
    }
}
