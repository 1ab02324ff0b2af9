//! Runs the mint function on its own port, with a simulated Twilio and a simulated identity provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use flexgate::base::outbound::{Deadline, send};
use flexgate::platform::Platform;
use flexgate::secrets::{FetchError, SecretSource, SecretValue, Stage};
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;
use flexgate::web::Edge;
use flexgate_mint::{App, Settings, router};
use flexgate_test_support::{Log, Reply, World};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Request;
use serde_json::{Value, json};

/// A secret source that counts fetches.
#[derive(Debug)]
struct Counting(Arc<dyn SecretSource>, Arc<AtomicUsize>);

#[async_trait]
impl SecretSource for Counting {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.fetch(id, stage, deadline).await
    }
}

fn settings(world: &World, url: &str, variables: &[(&str, &str)]) -> Settings {
    let variables = variables.iter().map(|(name, value)| (*name, value.replace("{issuer}", &world.simulator.issuer())));
    let mut reader = world.reader().with([("FLEXGATE_PUBLIC_URL", url)]).with(variables);
    let settings = Settings::read(&mut reader);
    reader.finish(settings).unwrap()
}

pub struct Gate {
    pub world: World,
    pub url: String,
    pub platform: Platform,
    settings: Settings,
    app: Arc<App>,
    fetches: Arc<AtomicUsize>,
}

impl Gate {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a `Gate` with these variables in addition to the usual settings.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        Log::keep_decisions();
        let world = World::on_one_clock().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let settings = settings(&world, &url, variables);
        let mut platform = world.platform(&settings.common);
        let fetches = Arc::new(AtomicUsize::new(0));
        platform.secrets = Arc::new(Counting(platform.secrets, fetches.clone()));
        let edge = Edge::new("mint", &settings.common, platform.clock_rng.clone());
        let app = App::new(&settings, &platform);
        let routes = edge.assemble(router(app.clone()));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { world, url, platform, settings, app, fetches }
    }

    /// Prefetches the same data as the Lambda function does before its first request.
    pub async fn prewarm(&self) {
        self.app.prewarm(Deadline::after(Duration::from_secs(30))).await;
    }

    /// Returns the `Provisioning` of a second process that opens the same store file.
    pub fn elsewhere(&self) -> Provisioning {
        let platform = Platform::new(&self.settings.common, self.platform.clock_rng.clone()).unwrap();
        let flex = platform.flex(&self.settings.common, &self.settings.credential);
        Provisioning::new(Arc::new(flex), platform.sessions(), platform.bindings())
    }

    /// Returns the people ledger of another function in the same deployment.
    pub fn ledger(&self) -> Ledger {
        Ledger::of_platform(&self.platform, Arc::new(self.elsewhere()), &self.settings.policy)
    }

    /// Starts a second process with its own memory and the same store file. Returns the URL of that process.
    pub async fn twin(&self) -> String {
        self.twin_with(&self.settings).await
    }

    /// Like [`Gate::twin`], but with these variables instead of the variables of this `Gate`.
    pub async fn twin_set_up_with(&self, variables: &[(&str, &str)]) -> String {
        self.twin_with(&settings(&self.world, &self.url, variables)).await
    }

    async fn twin_with(&self, settings: &Settings) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let platform = Platform::new(&settings.common, self.platform.clock_rng.clone()).unwrap();
        let edge = Edge::new("mint", &settings.common, platform.clock_rng.clone());
        let routes = edge.assemble(router(App::new(settings, &platform)));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    pub fn secret_fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Returns a person's token from the identity provider, with these changes to its claims. The changes may also
    /// contain the members `header` and `key` of the simulator's `POST /idp/__dev/token`.
    pub async fn token_of(&self, username: &str, changes: Value) -> String {
        let mut claims = json!({
            "sub": format!("sub-{username}"), "preferred_username": username, "scope": "flexgate.token",
            "email": format!("{username}@example.com"), "email_verified": true, "name": format!("{username} Example"),
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.world.token(&claims).await
    }

    pub async fn mint(&self, token: &str, body: Value) -> Reply {
        self.send(&[&format!("Bearer {token}")], body.to_string()).await
    }

    /// Mints with the person's own token.
    pub async fn mint_as(&self, username: &str) -> Reply {
        let token = self.token_of(username, json!({})).await;
        self.mint(&token, json!({})).await
    }

    pub async fn send(&self, authorization: &[&str], body: String) -> Reply {
        self.send_to(&self.url, authorization, body).await
    }

    pub async fn send_to(&self, url: &str, authorization: &[&str], body: String) -> Reply {
        let mut request = Request::new(Method::POST, format!("{url}/token").parse().unwrap());
        for value in authorization {
            request.headers_mut().append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        Reply::of(send(&self.world.http, request, Deadline::after(Duration::from_mins(1)), 1 << 20).await.unwrap())
    }
}

/// Assertions about the answer to a mint.
pub trait Minted {
    /// Asserts that the answer is this problem and contains nothing from Twilio. Also asserts that there is exactly one
    /// audit event.
    fn assert_problem(&self, status: u16, code: &str);

    /// Asserts that the answer is a token for this Flex user.
    fn assert_minted(&self, sid: &str);

    /// The reason in the audit event.
    fn reason(&self) -> String;

    fn audit(&self) -> Vec<Value>;

    fn alarms(&self) -> Vec<Value>;
}

impl Minted for Reply {
    #[track_caller]
    fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{:?}", self.body);
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"], self.header("x-request-id"));
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

    #[track_caller]
    fn assert_minted(&self, sid: &str) {
        assert_eq!(self.status, StatusCode::CREATED, "{:?} {:?}", self.body, self.audit());
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body["token_info"]["flex_user_sid"], sid);
        assert_eq!(self.body["token_info"]["expiration"], self.body["expires_at"]);
        assert!(!self.body["access_token"].as_str().unwrap().is_empty());
        let decisions = self.audit();
        assert_eq!(decisions.len(), 1, "{decisions:?}");
        assert_eq!((&decisions[0]["decision"], &decisions[0]["flex_user_sid"]), (&json!("allowed"), &json!(sid)));
    }

    #[track_caller]
    fn reason(&self) -> String {
        self.audit()[0]["reason"].as_str().unwrap().to_owned()
    }

    fn audit(&self) -> Vec<Value> {
        decisions(self, "flexgate::audit")
    }

    fn alarms(&self) -> Vec<Value> {
        decisions(self, "flexgate::alarm")
    }
}

fn decisions(reply: &Reply, target: &str) -> Vec<Value> {
    let of_request = Log::decisions_about(reply.header("x-request-id")).into_iter();
    of_request.filter(|line| line["target"] == target).collect()
}
