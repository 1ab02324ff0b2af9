//! The simulated world: the deployment, Twilio, the identity provider, and the time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{Clock as _, ClockRng};
use flexgate::store::Database;
use flexgate_provision::NewToken;
use flexgate_simulator::{ACCOUNT_SID, AUTH_TOKEN, InProcess};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::boundary::Boundary;
use crate::chance::Chance;
use crate::clock::WorldClock;
use crate::model::Model;
use crate::process::{Function, Parts, Reply, Server, Worker};
use crate::settings::{GATEWAY, Settings, TWILIO};
use crate::spy::Spy;
use crate::vault::Vault;
use crate::weather::Weather;

/// The number of processes for each function.
const PROCESSES: usize = 2;
pub(crate) const WEBHOOK_KEY: &[u8] = b"3f1c8a7d5e2b90461d7a8c3e5f902b64";
pub(crate) const OKTA_SECRET: &str = "k3J9x7Qp2LmN8vRtZ5";

pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) clock: WorldClock,
    pub(crate) weather: Arc<Weather>,
    pub(crate) simulator: InProcess,
    pub(crate) spy: Arc<Spy>,
    pub(crate) scim_token: String,
    pub(crate) vault: Vault,
    pub(crate) database: Database,
    auth_token: Mutex<String>,
    pub(crate) parts: Parts,
    servers: Mutex<BTreeMap<(Function, usize), Arc<Server>>>,
    /// The number of requests, batches of messages and sweeps in progress.
    under_way: AtomicUsize,
    model: Mutex<Model>,
    trace: Mutex<Vec<String>>,
}

/// Something is in progress, so the clock must not jump.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn start(seed: u64) -> Arc<Self> {
        let (chance, clock) = (Chance::new(seed), WorldClock::start());
        let weather = Arc::new(Weather::default());
        let twilio_clock = clock.clone();
        let trusted = vec![format!("{GATEWAY}/sso/default/callback")];
        let simulator =
            InProcess::new(chance.number(), TWILIO, trusted, move || twilio_clock.now().unix_timestamp()).unwrap();
        let vault = Vault::new(chance.clone(), weather.clone());
        let scim = NewToken::generate("sim", &chance);
        vault.put("twilio", &json!({ "accountSid": ACCOUNT_SID, "authToken": AUTH_TOKEN }));
        vault.put("cookie-keys", &json!({ "current": "1", "keys": { "1": cookie_key(7) } }));
        vault.put("scim-tokens", &serde_json::to_value(&scim.hashes).unwrap());
        let whsec = format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY));
        vault.put("webhook-secrets", &json!({ "hr": whsec, "okta": OKTA_SECRET }));
        let (spy, database) = (Arc::new(Spy::default()), Database::new().unwrap());
        let boundary = Boundary {
            life: Arc::default(),
            weather: weather.clone(),
            chance: chance.clone(),
            simulator: simulator.clone(),
            spy: spy.clone(),
            clock: clock.clone(),
        };
        let clock_rng = ClockRng { clock: Arc::new(clock.clone()), rng: Arc::new(chance.clone()) };
        let parts =
            Parts { settings: Settings::read(), clock_rng, database: database.clone(), vault: vault.clone(), boundary };
        Arc::new(Self {
            chance,
            clock,
            weather,
            simulator,
            spy,
            scim_token: scim.token.expose_secret().to_owned(),
            vault,
            database,
            auth_token: Mutex::new(AUTH_TOKEN.to_owned()),
            parts,
            servers: Mutex::default(),
            under_way: AtomicUsize::default(),
            model: Mutex::default(),
            trace: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the run's log of events.
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        let elapsed = self.now() - WorldClock::at_start();
        let seconds = elapsed.whole_milliseconds();
        let line = format!("{:>9}.{:03} s  {}", seconds / 1000, seconds % 1000, line.as_ref());
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Records that something forbidden has happened.
    pub(crate) fn complain(&self, what: impl AsRef<str>) {
        self.tell(format!("WRONG: {}", what.as_ref()));
        self.spy.seen().complaints.push(what.as_ref().to_owned());
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Prevents jumps of the clock until the returned value is dropped.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(&self.under_way)
    }

    /// Waits until no request, message or sweep is in progress, and then moves the clock forward. During a jump, leases
    /// end although no time passes for the processes that hold them. Such a process could then send a request to Twilio
    /// that undoes a later change.
    pub(crate) async fn jump_between_requests(&self, seconds: i64) {
        while self.under_way.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self.clock.jump(seconds);
    }

    /// Sends a request to a process of the function. Returns `None` if the process dies or takes too long.
    pub(crate) async fn send(&self, function: Function, request: Request<Body>) -> Option<Reply> {
        let slot = (function, self.chance.below(PROCESSES));
        let server = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.entry(slot).or_insert_with(|| Arc::new(self.parts.serve(function))).clone()
        };
        let is_doomed = self.chance.thousandths(self.weather.now().dies);
        if is_doomed {
            server.life.doom(1 + i64::try_from(self.chance.below(30)).unwrap_or_default());
        }
        let reply = {
            let _busy = self.busy();
            server.answer(request).await
        };
        if reply.is_none() {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            if servers.get(&slot).is_some_and(|current| Arc::ptr_eq(current, &server)) {
                servers.remove(&slot);
            }
        }
        reply
    }

    /// Stops every process. The next request to a function starts a new process with empty caches.
    pub(crate) fn deploy(&self) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn worker(&self) -> Worker {
        self.parts.work()
    }

    /// Sends a request directly to Twilio or the identity provider, without Flexgate.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let token = self.auth_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let basic = STANDARD.encode(format!("{ACCOUNT_SID}:{token}"));
        let request = Request::builder()
            .method(method)
            .uri(format!("{TWILIO}{path}"))
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .header(CONTENT_TYPE, "application/json");
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let response = self.simulator.answer(request.body(body).unwrap()).await.unwrap();
        assert!(response.status().is_success(), "{path}: {} {:?}", response.status(), response.body());
        serde_json::from_slice(response.body()).unwrap_or_default()
    }

    /// Replaces the account's auth token at Twilio, and in Flexgate's secret.
    pub(crate) async fn rotate_credential(&self) {
        let answer = self.ask(Method::POST, "/__sim/credentials", &json!({ "keep_old": true })).await;
        let token = answer["auth_token"].as_str().unwrap_or_default().to_owned();
        self.vault.put("twilio", &json!({ "accountSid": ACCOUNT_SID, "authToken": token }));
        *self.auth_token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// The Flex users, as Twilio shows them.
    pub(crate) async fn flex_users(&self) -> Vec<Value> {
        let users = self.ask(Method::GET, "/__sim/users", &Value::Null).await;
        users["users"].as_array().cloned().unwrap_or_default()
    }

    /// Returns the Flex user with this username. Prefers an active user.
    pub(crate) async fn flex_user(&self, username: &str) -> Option<Value> {
        let mut users = self.flex_users().await;
        users.retain(|user| user["username"] == username);
        users.sort_by_key(|user| user["deactivated"] == true);
        users.into_iter().next()
    }

    /// Returns a token from the identity provider, with these claims.
    pub(crate) async fn jwt(&self, claims: &Value) -> String {
        let answer = self.ask(Method::POST, "/idp/__dev/token", claims).await;
        answer["token"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn cookie_key(byte: u8) -> String {
    let mut bytes = [byte; 32];
    bytes[0] ^= 0x55;
    STANDARD.encode(bytes)
}
