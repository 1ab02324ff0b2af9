//! The environment of a test.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{ClockRng, ManualClock, SystemClock, SystemRng};
use flexgate::base::outbound::{Answer, Deadline, http_client, send};
use flexgate::base::settings::Reader;
use flexgate::platform::Platform;
use flexgate_simulator::{AUDIENCE, Config, Simulator};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::Duration;

/// The gateway's public URL in tests; nothing listens there.
pub const GATEWAY: &str = "http://localhost:9000";

/// A simulator, a folder with secrets and a store, and a clock.
pub struct World {
    /// Twilio and the identity provider.
    pub simulator: Simulator,
    /// The gateway's clock. Move it with [`World::advance`], which moves the simulator's clock too.
    pub clock: Arc<ManualClock>,
    http: reqwest::Client,
    folder: TempDir,
    shifted: std::sync::Mutex<i64>,
}

impl World {
    /// Starts a fresh world.
    pub async fn start() -> Self {
        let trusted_urls = vec![format!("{GATEWAY}/sso/default/callback"), format!("{GATEWAY}/sso/second/callback")];
        let simulator = Simulator::start(Config { trusted_urls, ..Config::default() }).await.unwrap();
        let world = Self {
            simulator,
            clock: ManualClock::at(flexgate::base::clock_rng::Clock::now(&SystemClock)),
            http: http_client(&[]).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            shifted: std::sync::Mutex::default(),
        };
        let account = world.simulator.account();
        world.write_secret("twilio", &json!({ "accountSid": account.account_sid, "authToken": account.auth_token }));
        world.write_keys("1", &[("1", 7)]);
        world
    }

    /// The folder that holds the secrets and the store.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The SQLite file.
    #[must_use]
    pub fn store_path(&self) -> std::path::PathBuf {
        self.folder.path().join("flexgate.db")
    }

    /// Writes the document of the secret `id`.
    pub fn write_secret(&self, id: &str, document: &Value) {
        let folder = self.folder.path().join("secrets");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{id}.json")), document.to_string()).unwrap();
    }

    /// Writes the cookie keys. Each entry is a key's name and a byte to derive the key from.
    pub fn write_keys(&self, current: &str, keys: &[(&str, u8)]) {
        let keys: serde_json::Map<_, _> = keys
            .iter()
            .map(|(name, byte)| {
                let mut bytes = [*byte; 32];
                bytes[0] ^= 0x55;
                ((*name).to_owned(), STANDARD.encode(bytes).into())
            })
            .collect();
        self.write_secret("cookie-keys", &json!({ "current": current, "keys": keys }));
    }

    /// The gateway's settings in this world.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::empty().with(self.variables())
    }

    /// The gateway's settings as environment variables for a process.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let account = self.simulator.account();
        let issuers = json!([{ "issuer": self.simulator.issuer(), "audiences": [AUDIENCE], "roles_claim": "roles" }]);
        let profile = &account.sso_profile_sid;
        vec![
            ("TWILIO_ACCOUNT_SID", account.account_sid.clone()),
            ("TWILIO_INSTANCE_SID", account.instance_sid.clone()),
            ("TWILIO_SECRET_ID", "twilio".into()),
            ("COOKIE_KEYS_SECRET_ID", "cookie-keys".into()),
            ("FLEXGATE_TWILIO_URL", self.simulator.url().to_owned()),
            ("FLEXGATE_PUBLIC_URL", GATEWAY.into()),
            ("FLEXGATE_ALLOWED_ORIGINS", "https://desk.example".into()),
            ("FLEXGATE_SECRETS", format!("files:{}", self.folder.path().join("secrets").display())),
            ("FLEXGATE_STORE", format!("sqlite:{}", self.store_path().display())),
            ("FLEXGATE_SSO_PROFILES", format!("default={profile},second={profile}")),
            ("FLEXGATE_ISSUERS", issuers.to_string()),
        ]
    }

    /// The platform for `settings`, with this world's clock.
    #[must_use]
    pub fn platform(&self, settings: &flexgate::platform::Common) -> Platform {
        Platform::new(settings, self.clock_rng()).unwrap()
    }

    /// This world's clock, and real randomness.
    #[must_use]
    pub fn clock_rng(&self) -> ClockRng {
        ClockRng { clock: self.clock.clone(), rng: Arc::new(SystemRng) }
    }

    /// Advances the gateway's and the simulator's clock.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        let offset = {
            let mut shifted = self.shifted.lock().unwrap();
            *shifted += by.whole_seconds();
            *shifted
        };
        self.control("clock", &json!({ "offset_seconds": offset })).await;
    }

    /// Sends `POST /__sim/{what}`.
    pub async fn control(&self, what: &str, body: &Value) -> Value {
        self.post(&format!("{}/__sim/{what}", self.simulator.url()), body).await
    }

    /// Injects a fault into the simulator.
    pub async fn fault(&self, fault: &Value) {
        self.control("faults", fault).await;
    }

    /// A token from the company's identity provider: a valid token's claims, overridden by `claims`.
    pub async fn token(&self, claims: &Value) -> String {
        let answer = self.post(&format!("{}/__dev/token", self.simulator.issuer()), claims).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    /// The requests in the simulator's journal whose path contains `path`.
    pub async fn journal(&self, path: &str) -> Vec<Value> {
        let url = format!("{}/__sim/requests?path_contains={path}", self.simulator.url());
        let answer = self.exchange(reqwest::Request::new(Method::GET, url.parse().unwrap())).await;
        let journal: Value = serde_json::from_slice(&answer.body).unwrap();
        journal["requests"].as_array().unwrap().clone()
    }

    /// Sends a request to the simulator.
    pub async fn exchange(&self, request: reqwest::Request) -> Answer {
        send(&self.http, request, Deadline::after(std::time::Duration::from_secs(10)), 1 << 22).await.unwrap()
    }

    async fn post(&self, url: &str, body: &Value) -> Value {
        let mut request = reqwest::Request::new(Method::POST, url.parse().unwrap());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.to_string().into());
        let answer = self.exchange(request).await;
        assert!(answer.status.is_success(), "{url}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }
}
