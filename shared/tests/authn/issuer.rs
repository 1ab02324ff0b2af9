//! A simulated issuer on the local machine. Tests can also use it to forge tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate::authn::{CallerError, TokenFault, Verifier, issuers};
use flexgate::base::clock_rng::{ClockRng, ManualClock, SystemRng};
use flexgate::base::outbound::{Deadline, http_client};
use flexgate::domain::Caller;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

pub const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub enum Signer {
    Rs256(RsaKeyPair),
    Ps256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(&flexgate_simulator::rsa_pkcs8().unwrap()).unwrap()
}

pub static RS256: LazyLock<Signer> = LazyLock::new(|| Signer::Rs256(rsa()));
pub static PS256: LazyLock<Signer> = LazyLock::new(|| Signer::Ps256(rsa()));
pub static ES256: LazyLock<Signer> = LazyLock::new(es256);
pub static ES384: LazyLock<Signer> = LazyLock::new(|| Signer::Es384(ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)));
pub static EDDSA: LazyLock<Signer> = LazyLock::new(|| {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Signer::EdDsa(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
});

pub fn es256() -> Signer {
    Signer::Es256(ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING))
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

impl Signer {
    pub fn alg(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Ps256(_) => "PS256",
            Self::Es256(_) => "ES256",
            Self::Es384(_) => "ES384",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Rs256(pair) | Self::Ps256(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": b64(n), "e": b64(e)})
            }
            Self::Es256(pair) | Self::Es384(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": format!("P-{}", x.len() * 8), "x": b64(x), "y": b64(y)})
            }
            Self::EdDsa(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())}),
        };
        (jwk["kid"], jwk["alg"], jwk["use"]) = (json!(kid), json!(self.alg()), json!("sig"));
        jwk
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rs256(pair) | Self::Ps256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let rsa_pss = matches!(self, Self::Ps256(_));
                let padding: &'static dyn ring::signature::RsaEncoding =
                    if rsa_pss { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Es256(pair) | Self::Es384(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Returns a signed token whose header and claims consist of exactly these bytes.
    pub fn token(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = b64(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// The answers that the issuer's web server sends, and the number of requests so far.
#[derive(Default)]
pub struct Served {
    pub keys: Mutex<Value>,
    pub metadata: Mutex<Value>,
    pub header: Mutex<Option<(&'static str, &'static str)>>,
    pub status: Mutex<Option<StatusCode>>,
    pub delay: Mutex<Duration>,
    key_fetches: AtomicUsize,
    other_requests: AtomicUsize,
}

async fn serve_keys(State(served): State<Arc<Served>>) -> Response {
    served.key_fetches.fetch_add(1, Ordering::SeqCst);
    let delay = *served.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    let status = served.status.lock().unwrap().unwrap_or(StatusCode::OK);
    let body = served.keys.lock().unwrap().to_string();
    let mut response = (status, body).into_response();
    if let Some((name, value)) = *served.header.lock().unwrap() {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn serve_metadata(State(served): State<Arc<Served>>) -> String {
    served.other_requests.fetch_add(1, Ordering::SeqCst);
    served.metadata.lock().unwrap().to_string()
}

async fn serve_nothing(State(served): State<Arc<Served>>) -> StatusCode {
    served.other_requests.fetch_add(1, Ordering::SeqCst);
    StatusCode::NOT_FOUND
}

/// An issuer with keys, a verifier that trusts the issuer, and a clock that starts at [`NOW`].
pub struct Idp {
    pub issuer: String,
    pub origin: String,
    pub served: Arc<Served>,
    pub clock: Arc<ManualClock>,
    pub verifier: Arc<Verifier>,
}

impl Idp {
    /// Starts a generic issuer with the ES256 key `k1`.
    pub async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// Starts an issuer with these settings. In the settings' strings, replaces `{origin}` with the server's address.
    pub async fn with(settings: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Served::default());
        let mut whole = json!({"issuer": "{origin}/idp", "audiences": ["flexgate"], "jwks_uri": "{origin}/keys"});
        for (name, value) in settings.as_object().unwrap() {
            whole[name] = value.clone();
        }
        if whole["jwks_uri"].is_null() {
            whole.as_object_mut().unwrap().remove("jwks_uri");
        }
        let json = json!([whole]).to_string().replace("{origin}", &origin);
        let issuer = whole["issuer"].as_str().unwrap().replace("{origin}", &origin);
        *served.keys.lock().unwrap() = json!({"keys": [ES256.jwk("k1")]});
        *served.metadata.lock().unwrap() = json!({"issuer": issuer, "jwks_uri": format!("{origin}/keys")});
        let app = Router::new()
            .route("/keys", get(serve_keys))
            .route("/idp/.well-known/openid-configuration", get(serve_metadata))
            .fallback(serve_nothing)
            .with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let clock = ManualClock::at(NOW);
        let clock_rng = ClockRng { clock: clock.clone(), rng: Arc::new(SystemRng) };
        let verifier = Verifier::new(issuers(&json).unwrap(), http_client(&[]).unwrap(), clock_rng);
        Self { issuer, origin, served, clock, verifier: Arc::new(verifier) }
    }

    pub fn publish(&self, keys: &Value) {
        *self.served.keys.lock().unwrap() = json!({"keys": keys});
    }

    pub fn answer_with(&self, status: u16) {
        *self.served.status.lock().unwrap() = Some(StatusCode::from_u16(status).unwrap());
    }

    pub fn key_fetches(&self) -> usize {
        self.served.key_fetches.load(Ordering::SeqCst)
    }

    pub fn other_requests(&self) -> usize {
        self.served.other_requests.load(Ordering::SeqCst)
    }

    /// Returns the claims of a valid token.
    pub fn claims(&self) -> Value {
        let now = NOW.unix_timestamp();
        json!({
            "iss": self.issuer, "aud": "flexgate", "sub": "user-1", "exp": now + 3600, "iat": now,
            "scope": "openid flexgate.token", "preferred_username": "ada", "name": "Ada Lovelace",
            "email": "ada@example.com", "email_verified": true,
        })
    }

    /// Makes these changes to the claims of a valid token, and returns the result. A null removes a claim.
    pub fn claims_with(&self, changes: &Value) -> Value {
        changed(self.claims(), changes)
    }

    /// Makes these changes to the claims of a valid token, and returns the signed token.
    pub fn token(&self, changes: &Value) -> String {
        ES256.token(header(&json!({})), self.claims_with(changes).to_string())
    }

    pub async fn verify(&self, token: &str) -> Result<Caller, CallerError> {
        self.verifier.verify_token(token, soon()).await
    }

    /// Makes these changes to the claims of a valid token, signs the token, and verifies it.
    pub async fn judge(&self, changes: Value) -> Result<Caller, CallerError> {
        self.verify(&self.token(&changes)).await
    }

    pub async fn fault(&self, token: &str) -> TokenFault {
        match self.verify(token).await {
            Err(CallerError::Invalid(fault)) => fault,
            other => panic!("expected a fault, not {other:?}: {token}"),
        }
    }
}

/// Makes these changes to the header of a valid token, and returns the result. A null removes a parameter.
pub fn header(changes: &Value) -> String {
    changed(json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}), changes).to_string()
}

fn changed(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

pub fn authorization(values: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}
