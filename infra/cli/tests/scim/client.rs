//! A gateway with SCIM, and a SCIM client that calls it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{ClockRng, SystemRng};
use flexgate::base::outbound::{Deadline, HttpClient, http_client, send};
use flexgate::store::{EventStatus, SqliteStore};
use flexgate_provision::NewToken;
use flexgate_test_support::{Process, World, free_port};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use ring::hmac;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const VARIABLES: [(&str, &str); 5] = [
    ("SCIM_TOKENS_SECRET_ID", "scim-tokens"),
    ("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Leads": "supervisor"}"#),
    ("FLEXGATE_WEBHOOKS", r#"{"standard":{}}"#),
    ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets"),
    ("FLEXGATE_LOG", "error"),
];
const WEBHOOK_KEY: &[u8] = b"3f1c8a7d5e2b90461d7a8c3e5f902b64";

/// A gateway with SCIM, the simulated Twilio behind it (the world), and a SCIM client.
pub struct Scim {
    pub world: World,
    gateway: Option<Process>,
    pub client: Client,
}

#[derive(Clone)]
pub struct Client {
    http: HttpClient,
    port: u16,
    token: String,
}

impl Client {
    /// Sends the request once. Returns the status and the JSON body, or `None` if there was no answer.
    pub async fn once(&self, method: &Method, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let url = format!("http://127.0.0.1:{}/scim/v2{path}", self.port).parse().unwrap();
        let mut request = reqwest::Request::new(method.clone(), url);
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token)).unwrap();
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        *request.body_mut() = Some(body.to_string().into());
        let answer = send(&self.http, request, Deadline::after(Duration::from_secs(30)), 8 << 20).await.ok()?;
        Some((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// Sends the request until it succeeds. Like a SCIM client, retries after a 503 or a lost answer.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        for _ in 0..200 {
            match self.once(&method, path, &body).await {
                Some((status, body)) if status.is_success() => return body,
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => unreachable!("{method} {path}: {other:?}"),
            }
        }
        unreachable!("{method} {path} never succeeds")
    }

    pub async fn patch(&self, path: &str, operation: Value) -> Value {
        self.ask(Method::PATCH, path, json!({ "Operations": [operation] })).await
    }
}

impl Scim {
    pub async fn start() -> Self {
        Self::over(World::start().await)
    }

    /// Starts a gateway in an existing world.
    pub fn over(world: World) -> Self {
        world
            .write_secret("webhook-secrets", &json!({ "standard": format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY)) }));
        let made = NewToken::generate("test", &SystemRng);
        world.write_secret("scim-tokens", &serde_json::to_value(&made.hashes).unwrap());
        let port = free_port();
        let gateway = Some(Process::live_with(BINARY, &world, port, &VARIABLES));
        let token = made.token.expose_secret().to_owned();
        let client = Client { http: http_client(&[]).unwrap(), port, token };
        Self { world, gateway, client }
    }

    /// Kills the gateway with SIGKILL. Starts a new one with the same data.
    pub fn kill(&mut self) {
        drop(self.gateway.take());
        self.gateway = Some(Process::live_with(BINARY, &self.world, self.client.port, &VARIABLES));
    }

    /// Twilio's users by SID.
    pub async fn users(&self) -> BTreeMap<String, Value> {
        let users = self.world.twilio_users().await;
        users.into_iter().map(|user| (user["flex_user_sid"].as_str().unwrap().to_owned(), user)).collect()
    }

    pub async fn waiting(&self) -> u64 {
        let inbox = SqliteStore::open(&self.world.store_path()).unwrap().inbox();
        inbox.count(EventStatus::Waiting).await.unwrap()
    }

    pub async fn wait_until_at_most(&self, left: u64) {
        let began = Instant::now();
        while self.waiting().await > left {
            assert!(began.elapsed() < Duration::from_mins(5), "the queue does not empty");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn dead(&self) -> u64 {
        let inbox = SqliteStore::open(&self.world.store_path()).unwrap().inbox();
        inbox.count(EventStatus::Dead).await.unwrap()
    }

    pub async fn group(&self, name: &str) -> String {
        let group = self.client.ask(Method::POST, "/Groups", json!({ "displayName": name })).await;
        format!("/Groups/{}", group["id"].as_str().unwrap())
    }
}

/// Delivers an event of the webhook source `standard`.
pub async fn deliver(client: &Client, id: &str, event: &Value) {
    let body = event.to_string();
    let time = ClockRng::system().now().unix_timestamp().to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_KEY), format!("{id}.{time}.{body}").as_bytes());
    let url = format!("http://127.0.0.1:{}/webhooks/standard", client.port).parse().unwrap();
    let mut request = reqwest::Request::new(Method::POST, url);
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &time),
        ("webhook-signature", &format!("v1,{}", STANDARD.encode(tag))),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    *request.body_mut() = Some(body.into());
    let answer = send(&client.http, request, Deadline::after(Duration::from_secs(5)), 1 << 16).await.unwrap();
    assert_eq!(answer.status, StatusCode::ACCEPTED);
}
