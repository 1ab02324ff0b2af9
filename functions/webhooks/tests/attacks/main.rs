//! Tests attacks on webhooks (W1 to W17 of the attack register, and G1 to G15 for signals). The router, the queue and
//! the consumer are real, and Twilio is simulated.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test that cannot go on should panic"
)]

mod effects;
mod field;
mod fuzz;
mod ledger;
mod meanings;
mod revocations;
mod shapes;
mod signal_keys;
mod signal_meanings;
mod signals;
mod signatures;
mod unset;
mod vendors;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::platform::Platform;
use flexgate::store::{DeadLetter, EventStatus, Inbox};
use flexgate::web::Edge;
use flexgate_test_support::{Browser, Reply, World};
use flexgate_webhooks::{App, Settings, StartError, router};
use http::Request;
use ring::hmac;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const KEY: &[u8] = b"3f1c8a7d5e2b90461d7a8c3e5f902b64";
pub const SECRET: &str = "k3J9x7Qp2LmN8vRtZ5";

/// The function with every kind of source configured, and with a simulated Twilio (`world`).
pub struct Hooks {
    pub world: World,
    pub platform: Platform,
    pub router: Router,
    apply: Arc<flexgate_apply::App>,
}

pub fn sources() -> Value {
    json!({
        "standard": {}, "okta": {}, "auth0": {}, "workos": {}, "fusionauth": {}, "zitadel": {},
        "graph": { "issuer": "https://login.microsoftonline.com/tenant-1/v2.0" },
        "hr": { "kind": "generic", "events": { "hired": "upsert", "left": "deactivate" }, "role_map": { "lead": "supervisor" },
                "map": { "type": "/what", "subject": "/who/number", "occurred_at": "/when", "username": "/who/login",
                         "email": "/who/mail", "full_name": "/who/name", "roles": "/who/job", "active": "/who/active" } },
    })
}

pub fn secrets() -> Value {
    let whsec = format!("whsec_{}", STANDARD.encode(KEY));
    json!({ "standard": whsec, "hr": whsec, "okta": SECRET, "auth0": SECRET, "workos": SECRET, "fusionauth": SECRET,
            "zitadel": SECRET, "graph": SECRET })
}

/// Reads the function's settings, with `sources` as the configuration of webhooks.
fn settings(world: &World, sources: &Value) -> Settings {
    let text = sources.to_string();
    let mut reader =
        world.reader().with([("FLEXGATE_WEBHOOKS", text.as_str()), ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets")]);
    let settings = Settings::read(&mut reader);
    reader.finish(settings).unwrap()
}

/// Starts the function as the gateway does, with `sources` as the configuration of webhooks.
pub async fn start(world: &World, sources: &Value) -> Result<(Platform, Router), StartError> {
    let settings = settings(world, sources);
    let platform = world.platform(&settings.common);
    let app = App::start(&settings.webhooks, &platform).await?;
    let router = Edge::new("webhooks", &settings.common, world.clock_rng()).assemble(router(app));
    Ok((platform, router))
}

impl Hooks {
    pub async fn start() -> Self {
        Self::with(&sources()).await
    }

    pub async fn with(sources: &Value) -> Self {
        let world = World::on_one_clock().await;
        world.write_secret("webhook-secrets", &secrets());
        Self::over(world, sources).await
    }

    /// Starts the functions, with `sources` as the configuration of webhooks.
    pub async fn over(world: World, sources: &Value) -> Self {
        let (platform, router) = start(&world, sources).await.unwrap();
        let mut reader = world.reader();
        let settings = flexgate_apply::Settings::read(&mut reader);
        let apply = flexgate_apply::App::new(&reader.finish(settings).unwrap(), &platform);
        Self { world, platform, router, apply }
    }

    pub fn now(&self) -> i64 {
        self.world.clock_rng().now().unix_timestamp()
    }

    /// Posts a body with exactly these headers.
    pub async fn post(&self, source: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        let mut request = Request::post(format!("/webhooks/{source}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Browser::new(self.router.clone()).send(request.body(Body::from(body.into())).unwrap()).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Browser::new(self.router.clone()).send(request.body(Body::empty()).unwrap()).await
    }

    /// Posts a delivery with a valid Standard Webhooks signature.
    pub async fn standard(&self, id: &str, body: &Value) -> Reply {
        self.signed("standard", id, body).await
    }

    pub async fn signed(&self, source: &str, id: &str, body: &Value) -> Reply {
        let (time, body) = (self.now().to_string(), body.to_string());
        let signature = sign(KEY, id, &time, body.as_bytes());
        self.post(source, &standard_headers(id, &time, &signature), body).await
    }

    /// Posts a delivery with the shared secret in `Authorization`.
    pub async fn shared(&self, source: &str, body: &Value) -> Reply {
        self.post(source, &[JSON, ("authorization", SECRET)], body.to_string()).await
    }

    /// Runs the consumer until no event is waiting, for at most four seconds.
    pub async fn settle(&self) {
        let inbox = self.inbox();
        let stop = CancellationToken::new();
        let task = tokio::spawn(flexgate_apply::consumer::run(self.apply.clone(), inbox, stop.clone()));
        for _ in 0..400 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            if self.inbox().count(EventStatus::Waiting).await.unwrap() == 0 {
                break;
            }
        }
        stop.cancel();
        task.await.unwrap();
    }

    pub fn inbox(&self) -> Arc<dyn Inbox> {
        self.platform.inbox().unwrap()
    }

    pub fn apply(&self) -> &flexgate_apply::App {
        &self.apply
    }

    pub async fn dead(&self) -> Vec<DeadLetter> {
        self.platform.dead_letters().list(100).await.unwrap()
    }

    /// Returns the Flex user with the username, or null.
    pub async fn user(&self, username: &str) -> Value {
        let url = format!("{}/__sim/users", self.world.simulator.url());
        let request = self.world.exchange(request(&url)).await;
        let users: Value = serde_json::from_slice(&request.body).unwrap();
        let users = users["users"].as_array().unwrap_or_else(|| users.as_array().unwrap()).clone();
        users.into_iter().find(|user| user["username"] == username).unwrap_or_default()
    }

    /// Counts the requests to Twilio that change a user.
    pub async fn changes(&self) -> usize {
        self.world.journal("Users/Provision").await.len() + self.world.journal("Users/Deprovision").await.len()
    }
}

fn request(url: &str) -> reqwest::Request {
    reqwest::Request::new(http::Method::GET, url.parse().unwrap())
}

pub const JSON: (&str, &str) = ("content-type", "application/json");

pub fn standard_headers<'h>(id: &'h str, time: &'h str, signature: &'h str) -> [(&'h str, &'h str); 4] {
    [JSON, ("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)]
}

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// `v1,…`
pub fn sign(key: &[u8], id: &str, time: &str, body: &[u8]) -> String {
    let message = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(key, &message)))
}

/// Returns a Clerk event, such as `user.created`, in Clerk's documented format.
pub fn clerk(kind: &str, username: &str, at_ms: i64) -> Value {
    json!({
        "object": "event", "type": kind, "timestamp": at_ms, "instance_id": "ins_123",
        "data": {
            "id": format!("user_{username}"), "object": "user", "username": username,
            "first_name": "Ada", "last_name": "Lovelace", "banned": false, "locked": false,
            "primary_email_address_id": "idn_1", "public_metadata": {}, "updated_at": at_ms,
            "email_addresses": [
                { "id": "idn_0", "email_address": "old@example.com", "verification": { "status": "unverified" } },
                { "id": "idn_1", "email_address": format!("{username}@example.com"), "verification": { "status": "verified" } },
            ],
        },
    })
}

pub fn clerk_deleted(username: &str, at_ms: i64) -> Value {
    json!({ "object": "event", "type": "user.deleted", "timestamp": at_ms,
            "data": { "id": format!("user_{username}"), "object": "user", "deleted": true } })
}
