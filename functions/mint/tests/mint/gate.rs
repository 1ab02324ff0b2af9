//! A minting function on its own port, and the simulator it calls.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use flexgate::base::clock_rng::{Clock as _, ClockRng, ManualClock, SystemClock, SystemRng};
use flexgate::base::outbound::{Deadline, http_client, send};
use flexgate::base::settings::Reader;
use flexgate::platform::Platform;
use flexgate::secrets::{FetchError, SecretSource, SecretValue, Stage};
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;
use flexgate::web::Edge;
use flexgate_mint::{App, Settings, router};
use flexgate_simulator::{ACCOUNT_SID, AUDIENCE, AUTH_TOKEN, Config, INSTANCE_SID, Simulator};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit;

/// A secret source that counts how often secrets are fetched.
#[derive(Debug)]
struct Counting(Arc<dyn SecretSource>, Arc<AtomicUsize>);

#[async_trait]
impl SecretSource for Counting {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.fetch(id, stage, deadline).await
    }
}

pub struct Gate {
    pub simulator: Simulator,
    pub url: String,
    pub clock: Arc<ManualClock>,
    pub platform: Platform,
    http: reqwest::Client,
    settings: Settings,
    fetches: Arc<AtomicUsize>,
    folder: TempDir,
}

/// What the gate answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Gate {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A gate with these variables on top of the usual ones.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        audit::keep();
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        std::fs::create_dir_all(&secrets).unwrap();
        let credential = json!({"accountSid": ACCOUNT_SID, "authToken": AUTH_TOKEN});
        std::fs::write(secrets.join("twilio.json"), credential.to_string()).unwrap();

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let issuers = json!([{"issuer": simulator.issuer(), "audiences": [AUDIENCE], "roles_claim": "roles"}]);
        let usual = BTreeMap::from([
            ("TWILIO_ACCOUNT_SID", ACCOUNT_SID.to_owned()),
            ("TWILIO_INSTANCE_SID", INSTANCE_SID.to_owned()),
            ("TWILIO_SECRET_ID", "twilio".to_owned()),
            ("FLEXGATE_TWILIO_URL", simulator.url().to_owned()),
            ("FLEXGATE_PUBLIC_URL", url.clone()),
            ("FLEXGATE_SECRETS", format!("files:{}", secrets.display())),
            ("FLEXGATE_STORE", format!("sqlite:{}", folder.path().join("flexgate.db").display())),
            ("FLEXGATE_ISSUERS", issuers.to_string()),
        ]);
        let variables = variables.iter().map(|(name, value)| (*name, value.replace("{issuer}", &simulator.issuer())));
        let mut reader = Reader::empty().with(usual).with(variables);
        let settings = Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let clock = ManualClock::at(SystemClock.now());
        let clock_rng = ClockRng { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let mut platform = Platform::new(&settings.common, clock_rng).unwrap();
        let fetches = Arc::new(AtomicUsize::new(0));
        platform.secrets = Arc::new(Counting(platform.secrets, fetches.clone()));
        let edge = Edge::new("mint", &settings.common, platform.clock_rng.clone());
        let routes = edge.assemble(router(App::new(&settings, &platform)));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { simulator, url, clock, platform, http: http_client(&[]).unwrap(), settings, fetches, folder }
    }

    /// Provisioning as another process of the same deployment does it: with its own store on the same file.
    pub fn elsewhere(&self) -> Provisioning {
        let platform = Platform::new(&self.settings.common, self.platform.clock_rng.clone()).unwrap();
        let flex = platform.flex(&self.settings.common, &self.settings.credential);
        Provisioning::new(Arc::new(flex), platform.sessions(), platform.bindings())
    }

    /// The people ledger as another function uses it.
    pub fn ledger(&self) -> Ledger {
        Ledger::of_platform(&self.platform, Arc::new(self.elsewhere()), &self.settings.policy)
    }

    /// Starts another process of the same deployment, with its own memory and its own store on the same file. Returns
    /// its address.
    pub async fn twin(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let platform = Platform::new(&self.settings.common, self.platform.clock_rng.clone()).unwrap();
        let edge = Edge::new("mint", &self.settings.common, platform.clock_rng.clone());
        let routes = edge.assemble(router(App::new(&self.settings, &platform)));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    /// Advances the time for the gate and the simulator.
    pub async fn pass(&self, time: time::Duration) {
        self.clock.advance(time);
        let clock = self.at_simulator(Method::GET, "/__sim/clock", Value::Null).await;
        self.set_simulators_clock(clock["offset_seconds"].as_i64().unwrap() + time.whole_seconds()).await;
    }

    /// Sets how many seconds the simulator's clock is ahead.
    pub async fn set_simulators_clock(&self, offset: i64) {
        self.at_simulator(Method::POST, "/__sim/clock", json!({"offset_seconds": offset})).await;
    }

    /// How often a secret was fetched.
    pub fn secret_fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Replaces a secret's document at once, as a rotation does.
    pub fn write_secret(&self, name: &str, document: &Value) {
        let draft = self.secret("draft");
        std::fs::write(&draft, document.to_string()).unwrap();
        std::fs::rename(draft, self.secret(name)).unwrap();
    }

    pub fn secret(&self, name: &str) -> PathBuf {
        self.folder.path().join("secrets").join(name)
    }

    /// A token of the company's identity provider for a person, with these claims changed; see
    /// `POST /idp/__dev/token` for `header` and `key`.
    pub async fn token_of(&self, username: &str, changes: Value) -> String {
        let mut claims = json!({
            "sub": format!("sub-{username}"), "preferred_username": username, "scope": "flexgate.token",
            "email": format!("{username}@example.com"), "email_verified": true, "name": format!("{username} Example"),
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.at_simulator(Method::POST, "/idp/__dev/token", claims).await["token"].as_str().unwrap().to_owned()
    }

    /// Mints with this bearer token and body.
    pub async fn mint(&self, token: &str, body: Value) -> Answer {
        self.send(&[&format!("Bearer {token}")], body.to_string()).await
    }

    /// Mints for the person with their own token.
    pub async fn mint_as(&self, username: &str) -> Answer {
        let token = self.token_of(username, json!({})).await;
        self.mint(&token, json!({})).await
    }

    pub async fn send(&self, authorization: &[&str], body: String) -> Answer {
        self.send_to(&self.url, authorization, body).await
    }

    pub async fn send_to(&self, url: &str, authorization: &[&str], body: String) -> Answer {
        let mut request = Request::new(Method::POST, format!("{url}/token").parse().unwrap());
        for value in authorization {
            request.headers_mut().append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        let answer = send(&self.http, request, Deadline::after(Duration::from_mins(1)), 1 << 20).await.unwrap();
        Answer {
            status: answer.status,
            headers: answer.headers,
            body: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        }
    }

    /// Calls the simulator's control API, or Twilio with the well-known credential.
    pub async fn at_simulator(&self, method: Method, path: &str, body: Value) -> Value {
        let mut request = Request::new(method, format!("{}{path}", self.simulator.url()).parse().unwrap());
        let basic = format!("{ACCOUNT_SID}:{}", self.simulator.account().auth_token);
        let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, basic);
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_str(&format!("Basic {basic}")).unwrap());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if !body.is_null() {
            *request.body_mut() = Some(body.to_string().into());
        }
        let answer = send(&self.http, request, Deadline::after(Duration::from_secs(30)), 1 << 26).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    /// Creates or updates a Flex user; returns their SID.
    pub async fn provision(&self, username: &str, roles: &[&str]) -> String {
        let body = json!({
            "username": username, "email": format!("{username}@example.com"), "full_name": format!("{username} Example"),
            "roles": roles, "worker": {},
        });
        let path = format!("/flex-api/v4/Instances/{INSTANCE_SID}/Users/Provision");
        self.at_simulator(Method::POST, &path, body).await["flex_user_sid"].as_str().unwrap().to_owned()
    }

    /// Deprovisions a Flex user in Twilio directly, as the Flex console would, bypassing Flexgate.
    pub async fn deprovision(&self, sid: &str) {
        let path = format!("/flex-api/v4/Instances/{INSTANCE_SID}/Users/Deprovision");
        self.at_simulator(Method::POST, &path, json!({"flex_user_sid": sid})).await;
    }

    pub async fn switch(&self, switches: Value) {
        self.at_simulator(Method::POST, "/__sim/switches", switches).await;
    }

    pub async fn fault(&self, fault: Value) {
        self.at_simulator(Method::POST, "/__sim/faults", fault).await;
    }

    /// The Flex user with that name, as Twilio has it.
    pub async fn user(&self, username: &str) -> Option<Value> {
        let users = self.at_simulator(Method::GET, "/__sim/users", Value::Null).await;
        users["users"].as_array().unwrap().iter().find(|user| user["username"] == username).cloned()
    }

    /// The requests a service has received since the journal was last emptied: `METHOD path`, in order. They include
    /// the tests' own requests, so empty the journal after the setup.
    pub async fn journal(&self, service: &str) -> Vec<String> {
        let path = format!("/__sim/requests?service={service}");
        let requests = self.at_simulator(Method::GET, &path, Value::Null).await;
        let line =
            |request: &Value| format!("{} {}", request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        let all = requests["requests"].as_array().unwrap().iter().map(line);
        all.filter(|line| !line.contains("__dev")).collect()
    }

    pub async fn forget_journal(&self) {
        self.at_simulator(Method::DELETE, "/__sim/requests", Value::Null).await;
    }
}

impl Answer {
    /// Asserts that the answer is this problem, with the right document and headers, exactly one audit event, and
    /// nothing from the upstream's answer.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{:?}", self.body);
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.request_id());
        assert_eq!(self.headers.get(WWW_AUTHENTICATE).is_some_and(|value| value == "Bearer"), status == 401);
        if matches!(status, 429 | 503) {
            let seconds: u64 = self.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
        }
        let decisions = self.audit();
        assert_eq!(decisions.len(), 1, "{decisions:?}");
        assert_eq!((&decisions[0]["action"], &decisions[0]["decision"]), (&json!("mint"), &json!("refused")));
        assert!(!decisions[0]["reason"].as_str().unwrap().is_empty());
        assert!(self.body.get("access_token").is_none());
    }

    /// Asserts that the answer is a token for this Flex user.
    #[track_caller]
    pub fn assert_minted(&self, sid: &str) {
        assert_eq!(self.status, StatusCode::CREATED, "{:?} {:?}", self.body, self.audit());
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body["token_info"]["flex_user_sid"], sid);
        assert_eq!(self.body["token_info"]["expiration"], self.body["expires_at"]);
        assert!(!self.body["access_token"].as_str().unwrap().is_empty());
        let decisions = self.audit();
        assert_eq!(decisions.len(), 1, "{decisions:?}");
        assert_eq!((&decisions[0]["decision"], &decisions[0]["flex_user_sid"]), (&json!("allowed"), &json!(sid)));
    }

    /// The reason in the audit event.
    #[track_caller]
    pub fn reason(&self) -> String {
        self.audit()[0]["reason"].as_str().unwrap().to_owned()
    }

    pub fn audit(&self) -> Vec<Value> {
        self.lines("flexgate::audit")
    }

    pub fn alarms(&self) -> Vec<Value> {
        self.lines("flexgate::alarm")
    }

    fn lines(&self, target: &str) -> Vec<Value> {
        audit::lines(self.request_id()).into_iter().filter(|line| line["target"] == target).collect()
    }

    fn request_id(&self) -> &str {
        self.headers["x-request-id"].to_str().unwrap()
    }
}
