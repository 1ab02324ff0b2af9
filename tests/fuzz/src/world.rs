//! A deployment in memory: the real functions, a SQLite store, a simulated Twilio, and a clock that stands still.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::authn::CallerSettings;
use flexgate::base::clock_rng::{Clock, ClockRng, Rng};
use flexgate::base::outbound::{Answer, Deadline, HttpClient, SendError, Transport};
use flexgate::base::settings::Reader;
use flexgate::platform::{Common, OwnerSettings, Platform};
use flexgate::secrets::{FetchError, SecretSource, SecretValue, Stage};
use flexgate::store::{Database, SqliteStore, StoreError, StoreFaults};
use flexgate::twilio::CredentialSettings;
use flexgate::users::PolicySettings;
use flexgate::web::Edge;
use flexgate_provision::{NewToken, ScimSettings};
use flexgate_simulator::{ACCOUNT_SID, AUDIENCE, AUTH_TOKEN, INSTANCE_SID, InProcess, SSO_PROFILE_SID};
use flexgate_sso::SignInSettings;
use flexgate_webhooks::WebhookSettings;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tower::ServiceExt as _;

pub(crate) const GATEWAY: &str = "https://gate.example";
/// An origin to which Flexgate may redirect browsers, and whose pages may call Flexgate.
pub(crate) const DESK: &str = "https://desk.example";
/// The address of Twilio and the identity provider. Nothing listens there.
pub(crate) const TWILIO: &str = "http://localhost:9010";
pub(crate) const NOW: OffsetDateTime = datetime!(2026-03-02 09:00 UTC);
/// The key of the sources with Standard Webhooks signatures.
pub(crate) const WEBHOOK_KEY: &[u8] = b"3f1c8a7d5e2b90461d7a8c3e5f902b64";
/// The secret of the other webhook sources.
pub(crate) const WEBHOOK_SECRET: &str = "k3J9x7Qp2LmN8vRtZ5";

/// A function that answers requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    Sso,
    Mint,
    Provision,
    Webhooks,
}

/// An answer from Flexgate.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub(crate) struct World {
    pub(crate) platform: Platform,
    pub(crate) outside: Arc<Outside>,
    pub(crate) scim_token: String,
    settings: Settings,
}

#[derive(Clone)]
struct Settings {
    sign_in: SignInSettings,
    owner: OwnerSettings,
    scim: Option<ScimSettings>,
    webhooks: WebhookSettings,
}

/// The webhook sources: one of each kind.
fn sources() -> Value {
    json!({
        "standard": {}, "auth0": {}, "workos": { "members_of": ["org_1", "group-a"] }, "zitadel": {},
        "okta": { "members_of": ["group-a", "group-b"] }, "fusionauth": { "members_of": ["application-a"] },
        "graph": { "issuer": "https://login.microsoftonline.com/tenant-1/v2.0" },
        "hr": { "kind": "generic", "events": { "hired": "upsert", "changed": "refresh", "left": "deactivate" },
                "role_map": { "lead": "supervisor" },
                "map": { "type": "/what", "subject": "/who/number", "occurred_at": "/when", "username": "/who/login",
                         "email": "/who/mail", "full_name": "/who/name", "roles": "/who/job", "active": "/who/active" } },
    })
}

pub(crate) fn variables() -> Vec<(&'static str, String)> {
    let issuers = json!([{ "issuer": format!("{TWILIO}/idp"), "audiences": [AUDIENCE], "roles_claim": "roles" }]);
    vec![
        ("TWILIO_ACCOUNT_SID", ACCOUNT_SID.into()),
        ("TWILIO_INSTANCE_SID", INSTANCE_SID.into()),
        ("TWILIO_SECRET_ID", "twilio".into()),
        ("COOKIE_KEYS_SECRET_ID", "cookie-keys".into()),
        ("SCIM_TOKENS_SECRET_ID", "scim-tokens".into()),
        ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets".into()),
        ("FLEXGATE_TWILIO_URL", TWILIO.into()),
        ("FLEXGATE_PUBLIC_URL", GATEWAY.into()),
        ("FLEXGATE_ALLOWED_ORIGINS", DESK.into()),
        ("FLEXGATE_SECRETS", "files:unused".into()),
        ("FLEXGATE_STORE", "sqlite:unused".into()),
        ("FLEXGATE_SSO_PROFILES", format!("default={SSO_PROFILE_SID}")),
        ("FLEXGATE_ISSUERS", issuers.to_string()),
        ("FLEXGATE_WEBHOOKS", sources().to_string()),
        ("FLEXGATE_JUST_IN_TIME", "create-and-sync".into()),
        ("FLEXGATE_SCIM_GROUP_ROLES", json!({ "Leads": "supervisor" }).to_string()),
        ("FLEXGATE_SCIM_ATTRIBUTES", "language.string,level.int".into()),
    ]
}

impl Settings {
    fn read() -> Self {
        let mut reader = Reader::empty().with(variables());
        let common = Common::read(&mut reader);
        let sign_in = SignInSettings::read(&mut reader, common.as_ref());
        let credential = CredentialSettings::read(&mut reader);
        let (caller, policy) = (CallerSettings::read(&mut reader), PolicySettings::read(&mut reader));
        let (webhooks, scim) = (WebhookSettings::read(&mut reader), ScimSettings::read(&mut reader));
        let settings = || {
            let owner = OwnerSettings { common: common?, credential: credential?, caller: caller?, policy: policy? };
            Some(Self { sign_in: sign_in?, owner, scim: scim?, webhooks: webhooks? })
        };
        let settings = settings();
        reader.finish(settings).unwrap()
    }
}

impl World {
    /// Creates a deployment with an empty store and a Twilio in its initial state.
    pub(crate) fn new() -> Self {
        let clock_rng = ClockRng { clock: Arc::new(StandingClock), rng: Arc::new(Numbers::default()) };
        let outside = Arc::<Outside>::default();
        let scim = NewToken::generate("fuzz", clock_rng.rng.as_ref());
        let whsec = format!("whsec_{}", STANDARD.encode(WEBHOOK_KEY));
        let mut cookie_key = [7; 32];
        cookie_key[0] = 1;
        let vault = Vault(BTreeMap::from([
            ("twilio", json!({ "accountSid": ACCOUNT_SID, "authToken": AUTH_TOKEN })),
            ("cookie-keys", json!({ "current": "1", "keys": { "1": STANDARD.encode(cookie_key) } })),
            ("scim-tokens", serde_json::to_value(&scim.hashes).unwrap()),
            (
                "webhook-secrets",
                json!({ "standard": whsec, "hr": whsec, "okta": WEBHOOK_SECRET, "auth0": WEBHOOK_SECRET,
                        "workos": WEBHOOK_SECRET, "fusionauth": WEBHOOK_SECRET, "zitadel": WEBHOOK_SECRET,
                        "graph": WEBHOOK_SECRET }),
            ),
        ]));
        let store = SqliteStore::inline(&Database::new().unwrap(), Arc::new(NoFaults));
        let http = HttpClient::in_process(outside.clone());
        let platform = Platform::simulated(clock_rng, http, Arc::new(vault), store);
        thread_local! {
            static SETTINGS: Settings = Settings::read();
        }
        let (scim_token, settings) = (scim.token.expose_secret().to_owned(), SETTINGS.with(Clone::clone));
        Self { platform, outside, scim_token, settings }
    }

    /// Starts a process of the function. Its caches are empty, and no client has used up any of its budget of failed
    /// requests.
    pub(crate) fn router(&self, function: Function) -> Router {
        let (settings, platform) = (&self.settings, &self.platform);
        let common = settings.owner.common.clone();
        let (name, routes) = match function {
            Function::Sso => {
                let settings = flexgate_sso::Settings { common: common.clone(), sign_in: settings.sign_in.clone() };
                ("sso", flexgate_sso::router(flexgate_sso::App::new(&settings, platform)))
            }
            Function::Mint => ("mint", flexgate_mint::router(flexgate_mint::App::new(&settings.owner, platform))),
            Function::Provision => {
                let settings =
                    flexgate_provision::Settings { owner: settings.owner.clone(), scim: settings.scim.clone() };
                ("provision", flexgate_provision::router(flexgate_provision::App::new(&settings, platform)))
            }
            Function::Webhooks => {
                ("webhooks", flexgate_webhooks::router(flexgate_webhooks::App::new(&settings.webhooks, platform)))
            }
        };
        Edge::new(name, &common, platform.clock_rng.clone()).assemble(routes)
    }

    /// Sends a request to a new process of the function.
    pub(crate) fn send(&self, function: Function, request: Request<Body>) -> Reply {
        let router = self.router(function);
        block_on(async {
            let Ok(response) = router.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: parts.status, headers: parts.headers, body }
        })
    }

    /// Returns a token from the identity provider, with these claims.
    pub(crate) fn jwt(&self, claims: &Value) -> String {
        let basic = STANDARD.encode(format!("{ACCOUNT_SID}:{AUTH_TOKEN}"));
        let request = Request::post(format!("{TWILIO}/idp/__dev/token"))
            .header(AUTHORIZATION, format!("Basic {basic}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(claims.to_string()));
        let answer = block_on(self.outside.simulator().answer(request.unwrap())).unwrap();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }
}

/// Runs the future on this thread. Time is paused, so a slow machine causes no timeout.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

#[derive(Debug)]
pub(crate) struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> OffsetDateTime {
        NOW
    }
}

/// A random number generator that never repeats a number and produces the same numbers in every run.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

impl Rng for Numbers {
    fn fill(&self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(number.get(..chunk.len()).unwrap_or_default());
        }
    }
}

/// Twilio and the identity provider.
#[derive(Default)]
pub(crate) struct Outside {
    simulator: OnceLock<InProcess>,
    /// How many authorization codes Flexgate has sent to Twilio.
    exchanges: AtomicUsize,
}

impl Outside {
    /// Returns the simulator. Creating the first one in a process takes seconds, because it generates keys.
    pub(crate) fn simulator(&self) -> &InProcess {
        self.simulator.get_or_init(|| {
            let trusted = vec![format!("{GATEWAY}/sso/default/callback")];
            InProcess::new(1, TWILIO, trusted, || NOW.unix_timestamp()).unwrap()
        })
    }

    pub(crate) fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for Outside {
    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SendError> {
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        if body.windows(13).any(|window| window == b"code_verifier") {
            self.exchanges.fetch_add(1, Ordering::Relaxed);
        }
        let mut sent = Request::new(Bytes::copy_from_slice(body));
        *sent.method_mut() = request.method().clone();
        *sent.uri_mut() = request.url().as_str().parse().unwrap();
        *sent.headers_mut() = request.headers().clone();
        sent.headers_mut().insert(HOST, HeaderValue::from_str(request.url().authority()).unwrap());
        let broken = || SendError::Broken("the simulator broke the connection".into());
        let (parts, body) = self.simulator().answer(sent).await.ok_or_else(broken)?.into_parts();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

#[derive(Debug)]
struct Vault(BTreeMap<&'static str, Value>);

#[async_trait]
impl SecretSource for Vault {
    async fn fetch(&self, id: &str, stage: Stage, _deadline: Deadline) -> Result<SecretValue, FetchError> {
        let document = self.0.get(id).filter(|_| stage != Stage::Pending).ok_or(FetchError::NotFound)?;
        Ok(SecretValue { version: "1".to_owned(), text: SecretString::from(document.to_string()) })
    }
}

#[derive(Debug)]
struct NoFaults;

#[async_trait]
impl StoreFaults for NoFaults {
    async fn before(&self, _writes: bool) -> Result<(), StoreError> {
        Ok(())
    }

    async fn after(&self, _writes: bool) -> Result<(), StoreError> {
        Ok(())
    }
}
