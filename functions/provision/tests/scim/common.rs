//! The SCIM function with a simulated Twilio, and helper functions for the tests.

use axum::Router;
use axum::body::Body;
use flexgate::base::clock_rng::{ClockRng, SystemRng};
use flexgate::platform::Platform;
use flexgate::users::ledger::Ledger;
use flexgate::web::Edge;
use flexgate_provision::{App, NewToken, Settings, router};
use flexgate_simulator::Config;
use flexgate_test_support::{Reply, World};
use http::Request;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub struct Scim {
    pub world: World,
    pub router: Router,
    pub token: String,
    settings: Settings,
}

/// Asserts that a reply is a SCIM error.
pub trait Refused {
    /// Asserts that the reply is a SCIM error with this status and `scimType` (`-` for none).
    fn refused(self, status: u16, scim_type: &str);
}

impl Refused for Reply {
    #[track_caller]
    fn refused(self, status: u16, scim_type: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/scim+json");
        assert!(self.headers.contains_key("x-request-id"));
        assert_eq!(self.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
        assert_eq!(self.body["status"], json!(status.to_string()));
        assert_eq!(self.body["scimType"].as_str().unwrap_or("-"), scim_type, "{}", self.text);
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

pub async fn scim() -> Scim {
    scim_with(&[]).await
}

pub async fn scim_with(variables: &[(&str, &str)]) -> Scim {
    scim_over(Config::default(), variables).await
}

pub async fn scim_over(config: Config, variables: &[(&str, &str)]) -> Scim {
    let world = World::over(config).await;
    let made = NewToken::generate("test", &SystemRng);
    world.write_secret("scim-tokens", &serde_json::to_value(&made.hashes).unwrap());
    let own = [
        ("SCIM_TOKENS_SECRET_ID", "scim-tokens"),
        ("FLEXGATE_PUBLIC_URL", "https://gate.example.com"),
        ("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Flex Supervisors": "supervisor", "Flex Admins": "admin"}"#),
        ("FLEXGATE_SCIM_ATTRIBUTES", "language.string,skill_level.int"),
    ];
    let mut reader = world.reader().with(own).with(variables.iter().copied());
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let router = assemble(&settings);
    Scim { world, router, token: made.token.expose_secret().to_owned(), settings }
}

fn assemble(settings: &Settings) -> Router {
    let platform = Platform::new(&settings.owner.common, ClockRng::system()).unwrap();
    let edge = Edge::new("provision", &settings.owner.common, platform.clock_rng.clone());
    edge.assemble(router(App::new(settings, &platform)))
}

impl Scim {
    /// The platform that the function runs on.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.settings.owner.common, ClockRng::system()).unwrap()
    }

    /// Returns the people ledger, so that a test can add statements from other sources.
    pub fn ledger(&self) -> Ledger {
        self.world.ledger(&self.settings.owner)
    }

    /// Restarts the function with an empty cache.
    pub fn restarted(&mut self) {
        self.router = assemble(&self.settings);
    }

    pub async fn call(&self, request: Request<Body>) -> Reply {
        Reply::read(self.router.clone().oneshot(request).await.unwrap()).await
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/scim/v2{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/scim+json; charset=utf-8");
        request.body(body.map_or_else(Body::empty, |body| Body::from(body.to_string()))).unwrap()
    }

    pub async fn send(&self, method: &str, path: &str, body: Value) -> Reply {
        self.call(self.request(method, path, Some(&body))).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(self.request("GET", path, None)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call(self.request("DELETE", path, None)).await
    }

    pub async fn patch(&self, path: &str, operations: Value) -> Reply {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        self.send("PATCH", path, body).await
    }

    /// Creates a user through SCIM, and returns the user's `id`.
    pub async fn user(&self, name: &str) -> String {
        let body = json!({ "userName": name, "displayName": format!("The {name}"),
            "emails": [{ "value": format!("{name}@example.com"), "primary": true }] });
        let made = self.send("POST", "/Users", body).await.is(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Returns the requests that the simulated Twilio received.
    pub async fn calls(&self) -> Vec<String> {
        self.world.calls("flex-api").await
    }

    /// Makes every write to a table fail until `mend_table` is called.
    pub fn break_table(&self, table: &str) {
        self.world.sql(&format!(
            "CREATE TRIGGER broken_insert BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END;
             CREATE TRIGGER broken_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END;"
        ));
    }

    pub fn mend_table(&self) {
        self.world.sql("DROP TRIGGER broken_insert; DROP TRIGGER broken_update;");
    }

    /// Makes the store fail when it records that a member's new role is announced. A role is announced once the member
    /// has been reconciled, or once a job that will reconcile the member has been queued.
    pub fn break_announcement(&self) {
        self.world.sql(
            "CREATE TRIGGER broken_announcement BEFORE INSERT ON scim_members WHEN NEW.conferred IS NOT NULL
             BEGIN SELECT RAISE(ABORT, 'broken'); END;",
        );
    }

    pub fn mend_announcement(&self) {
        self.world.sql("DROP TRIGGER broken_announcement;");
    }
}
