//! The environment of a test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{Clock as _, ClockRng, ManualClock, SystemClock, SystemRng};
use flexgate::base::outbound::{Answer, Deadline, HttpClient, http_client, send};
use flexgate::base::settings::Reader;
use flexgate::lambda::Aws;
use flexgate::platform::{Common, OwnerSettings, Platform};
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;
use flexgate_simulator::{AUDIENCE, Config, Simulator};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::Duration;

/// The gateway's public URL in tests. Nothing listens there.
pub const GATEWAY: &str = "http://localhost:9000";

/// The host in [`GATEWAY`], which browsers and proxies send in the header `Host`.
pub const GATEWAY_HOST: &str = "localhost:9000";

/// A test's environment: a simulator, a clock, and a folder that contains the secrets and the store.
pub struct World {
    /// Twilio and the identity provider.
    pub simulator: Simulator,
    /// The gateway's clock. [`World::advance`] moves it together with the simulator's clock.
    pub clock: Arc<ManualClock>,
    /// Whether the simulator uses `clock` too. If not, the simulator's clock runs in real time.
    is_one_clock: bool,
    /// A client for the simulator.
    pub http: HttpClient,
    folder: TempDir,
}

/// Returns an AWS configuration with long timeouts, because an emulator on a busy machine may take seconds to answer.
#[must_use]
pub fn patient_aws(http: HttpClient) -> Aws {
    let attempt = std::time::Duration::from_mins(1);
    Aws::new(http).with_timeouts(attempt, 3 * attempt)
}

/// Builds the platform from `settings`, with [`patient_aws`].
#[must_use]
pub fn platform(settings: &Common, clock_rng: ClockRng) -> Platform {
    let http = http_client(&settings.extra_roots).unwrap();
    Platform::with_aws(settings, clock_rng, http.clone(), patient_aws(http)).unwrap()
}

impl World {
    /// Starts a world whose simulator runs in real time, for a gateway in another process.
    pub async fn start() -> Self {
        Self::over(Config::default()).await
    }

    /// Starts a world whose simulator uses [`World::clock`], for a gateway in the same process. Only [`World::advance`]
    /// moves this clock, so the results do not depend on the speed of the machine.
    pub async fn on_one_clock() -> Self {
        let mut world = Self::start().await;
        let clock = world.clock.clone();
        world.simulator.follow(move || clock.now().unix_timestamp());
        world.is_one_clock = true;
        world
    }

    /// Starts a world whose simulator has this configuration.
    pub async fn over(config: Config) -> Self {
        let trusted_urls = vec![format!("{GATEWAY}/sso/default/callback"), format!("{GATEWAY}/sso/second/callback")];
        let simulator = Simulator::start(Config { trusted_urls, ..config }).await.unwrap();
        let world = Self {
            simulator,
            clock: ManualClock::at(SystemClock.now()),
            is_one_clock: false,
            http: http_client(&[]).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        let account = world.simulator.account();
        world.write_secret("twilio", &json!({ "accountSid": account.account_sid, "authToken": account.auth_token }));
        world.write_keys("1", &[("1", 7)]);
        world
    }

    /// The folder with the secrets and the store.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The SQLite file.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join("flexgate.db")
    }

    /// Replaces the document of a secret in one step, as a rotation does. The id `ID.pending` stands for the pending
    /// version of the secret `ID`.
    pub fn write_secret(&self, id: &str, document: &Value) {
        let path = self.secret_path(id);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = path.with_extension("draft");
        std::fs::write(&draft, document.to_string()).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    /// The file of the secret `id`.
    #[must_use]
    pub fn secret_path(&self, id: &str) -> PathBuf {
        self.folder.path().join("secrets").join(format!("{id}.json"))
    }

    /// Writes the cookie keys. Each element of `keys` contains the name of a key and the byte from which the key is
    /// computed.
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

    /// Returns the gateway's settings as environment variables.
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

    /// Builds the platform from `settings`, with this world's clock.
    #[must_use]
    pub fn platform(&self, settings: &Common) -> Platform {
        platform(settings, self.clock_rng())
    }

    /// This world's clock, together with real randomness.
    #[must_use]
    pub fn clock_rng(&self) -> ClockRng {
        ClockRng { clock: self.clock.clone(), rng: Arc::new(SystemRng) }
    }

    /// Advances the gateway's clock and the simulator's clock equally.
    pub async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        if self.is_one_clock {
            return;
        }
        let clock = self.ask(Method::GET, "/__sim/clock", &Value::Null).await;
        self.shift_simulator(clock["offset_seconds"].as_i64().unwrap() + by.whole_seconds()).await;
    }

    /// Sets how many seconds the simulator's clock is ahead of [`World::clock`], or ahead of real time if the simulator
    /// does not use that clock.
    pub async fn shift_simulator(&self, seconds: i64) {
        self.control("clock", &json!({ "offset_seconds": seconds })).await;
    }

    /// Opens the people ledger (what each source says about each person) of the deployment with these settings.
    #[must_use]
    pub fn ledger(&self, settings: &OwnerSettings) -> Ledger {
        let platform = self.platform(&settings.common);
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        Ledger::of_platform(&platform, provisioning, &settings.policy)
    }

    /// Runs SQL on the store's file.
    pub fn sql(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.store_path()).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        db.execute_batch(sql).unwrap();
    }

    /// Sends a request to the simulator with the account's credential. Sends no body if `body` is null. Returns the
    /// answer as JSON, or null for an empty answer.
    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let account = self.simulator.account();
        let mut request = reqwest::Request::new(method, format!("{}{path}", self.simulator.url()).parse().unwrap());
        let basic = STANDARD.encode(format!("{}:{}", account.account_sid, account.auth_token));
        request.headers_mut().insert(AUTHORIZATION, format!("Basic {basic}").parse().unwrap());
        if !body.is_null() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.to_string().into());
        }
        let answer = self.exchange(request).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Sends `POST /__sim/{what}`.
    pub async fn control(&self, what: &str, body: &Value) -> Value {
        self.ask(Method::POST, &format!("/__sim/{what}"), body).await
    }

    /// Injects a fault into the simulator.
    pub async fn fault(&self, fault: &Value) {
        self.control("faults", fault).await;
    }

    /// Waits until the newest fault has affected a request.
    pub async fn fault_met(&self) {
        let began = tokio::time::Instant::now();
        loop {
            let faults = self.ask(Method::GET, "/__sim/faults", &Value::Null).await;
            let newest = faults["faults"].as_array().and_then(|faults| faults.last()).unwrap();
            if newest["hits"].as_u64().is_some_and(|hits| hits > 0) {
                return;
            }
            assert!(began.elapsed() < std::time::Duration::from_mins(1), "no request has met the fault");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Removes every fault.
    pub async fn no_faults(&self) {
        self.ask(Method::DELETE, "/__sim/faults", &Value::Null).await;
    }

    /// Changes how the simulator behaves.
    pub async fn switch(&self, switches: &Value) {
        self.control("switches", switches).await;
    }

    /// Creates or updates a user at Twilio without Flexgate. Returns the user's SID.
    pub async fn at_twilio(&self, username: &str, roles: &[&str]) -> String {
        let body = json!({
            "username": username, "email": format!("{username}@example.com"), "full_name": format!("{username} Example"),
            "roles": roles, "worker": {},
        });
        let user = self.ask(Method::POST, &self.users_path("/Provision"), &body).await;
        user["flex_user_sid"].as_str().unwrap().to_owned()
    }

    /// Deprovisions a user at Twilio without Flexgate, as the Flex console does.
    pub async fn deprovision_at_twilio(&self, sid: &str) {
        self.ask(Method::POST, &self.users_path("/Deprovision"), &json!({ "flex_user_sid": sid })).await;
    }

    fn users_path(&self, rest: &str) -> String {
        format!("/flex-api/v4/Instances/{}/Users{rest}", self.simulator.account().instance_sid)
    }

    /// Returns all users at Twilio, with every field that the simulator stores.
    pub async fn twilio_users(&self) -> Vec<Value> {
        let users = self.ask(Method::GET, "/__sim/users", &Value::Null).await;
        users["users"].as_array().unwrap().clone()
    }

    /// The user at Twilio with this username.
    pub async fn twilio_user(&self, username: &str) -> Option<Value> {
        self.twilio_users().await.into_iter().find(|user| user["username"] == username)
    }

    /// The user at Twilio with this SID.
    pub async fn twilio_user_of(&self, sid: &str) -> Option<Value> {
        self.twilio_users().await.into_iter().find(|user| user["flex_user_sid"] == sid)
    }

    /// Returns the requests to one of the simulator's services, as `METHOD path`, since [`World::forget_calls`].
    /// Includes the test's own requests, except those with `__dev` in their path.
    pub async fn calls(&self, service: &str) -> Vec<String> {
        let journal = self.ask(Method::GET, &format!("/__sim/requests?service={service}"), &Value::Null).await;
        let calls = journal["requests"].as_array().unwrap().iter();
        let calls =
            calls.map(|call| format!("{} {}", call["method"].as_str().unwrap(), call["path"].as_str().unwrap()));
        calls.filter(|call| !call.contains("__dev")).collect()
    }

    /// Empties the simulator's journal of requests.
    pub async fn forget_calls(&self) {
        self.ask(Method::DELETE, "/__sim/requests", &Value::Null).await;
    }

    /// Returns a token from the company's identity provider. The token has the claims of a valid token, and `claims`
    /// adds to these or replaces them.
    pub async fn token(&self, claims: &Value) -> String {
        let answer = self.ask(Method::POST, "/idp/__dev/token", claims).await;
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Returns the requests in the simulator's journal whose path contains `path`.
    pub async fn journal(&self, path: &str) -> Vec<Value> {
        let journal = self.ask(Method::GET, &format!("/__sim/requests?path_contains={path}"), &Value::Null).await;
        journal["requests"].as_array().unwrap().clone()
    }

    /// Sends a request to the simulator.
    pub async fn exchange(&self, request: reqwest::Request) -> Answer {
        send(&self.http, request, Deadline::after(std::time::Duration::from_secs(30)), 1 << 26).await.unwrap()
    }
}
