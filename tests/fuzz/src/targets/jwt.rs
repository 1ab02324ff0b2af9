//! Fuzzes bearer tokens. The target signs the input's header and claims itself, so that even strange tokens have a
//! valid signature.
//!
//! The first byte of an input chooses how the token is made: `s` signs with the issuer's key, `w` with another key, and
//! `h` with the issuer's public key as the secret of an HMAC. The header and the claims follow, each on a line. If the
//! first byte is `r`, the rest of the input is the whole token.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate::authn::{Verifier, issuers};
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::{Answer, Deadline, HttpClient, SendError, Transport};
use flexgate::domain::{Caller, Role, Scope};
use http::{HeaderMap, StatusCode};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::world::{NOW, Numbers, StandingClock, block_on};

const ISSUER: &str = "https://issuer.example";
const LEEWAY: f64 = 60.0;

struct Fixture {
    verifier: Verifier,
    key: Ed25519KeyPair,
    other_key: Ed25519KeyPair,
}

thread_local! {
    static FIXTURE: Fixture = {
        let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "alg": "EdDSA", "use": "sig", "x": x }] });
        let settings = json!([{
            "issuer": ISSUER, "audiences": ["flexgate"], "jwks_uri": format!("{ISSUER}/keys"), "roles_claim": "groups",
            "role_map": { "leads": "supervisor", "staff": "agent" },
        }]);
        let clock_rng = ClockRng { clock: Arc::new(StandingClock), rng: Arc::new(Numbers::default()) };
        let http = HttpClient::in_process(Arc::new(Published(keys.to_string())));
        let verifier = Verifier::new(issuers(&settings.to_string()).unwrap(), http, clock_rng);
        Fixture { verifier, key, other_key: Ed25519KeyPair::from_seed_unchecked(&[2; 32]).unwrap() }
    };
}

/// The issuer's published keys.
#[derive(Debug)]
struct Published(String);

#[async_trait]
impl Transport for Published {
    async fn exchange(&self, _request: reqwest::Request) -> Result<Answer, SendError> {
        Ok(Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::from(self.0.clone()) })
    }
}

pub(crate) fn run(input: &[u8]) -> Outcome {
    let Some((how, rest)) = input.split_first() else { return Outcome::Refused };
    FIXTURE.with(|fixture| {
        let Some(token) = token(fixture, *how, rest) else { return Outcome::Refused };
        let deadline = Deadline::after(std::time::Duration::from_secs(5));
        match block_on(fixture.verifier.verify_token(&token, deadline)) {
            Ok(caller) => {
                judge(fixture, &token, &caller);
                Outcome::Accepted
            }
            Err(_) => Outcome::Refused,
        }
    })
}

fn token(fixture: &Fixture, how: u8, rest: &[u8]) -> Option<String> {
    if how == b'r' {
        return String::from_utf8(rest.to_vec()).ok();
    }
    let at = rest.iter().position(|byte| *byte == b'\n')?;
    let (header, claims) = (rest.get(..at)?, rest.get(at + 1..)?);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = match how {
        b's' => fixture.key.sign(signed.as_bytes()).as_ref().to_vec(),
        b'w' => fixture.other_key.sign(signed.as_bytes()).as_ref().to_vec(),
        b'h' => {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, fixture.key.public_key().as_ref());
            hmac::sign(&secret, signed.as_bytes()).as_ref().to_vec()
        }
        _ => return None,
    };
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Checks that an accepted token has the issuer's signature and valid claims, and that the caller has only names, roles
/// and scopes that appear in the claims.
fn judge(fixture: &Fixture, token: &str, caller: &Caller) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = UnparsedPublicKey::new(&ED25519, fixture.key.public_key().as_ref());
    assert!(key.verify(signed.as_bytes(), &signature).is_ok(), "the issuer did not sign it");
    let (header, claims) = signed.split_once('.').unwrap();
    let (header, claims) = (object(header), object(claims));
    let absent = |map: &Map<String, Value>, name: &str| map.get(name).is_none_or(Value::is_null);
    let header = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    assert_eq!(header("alg"), "eddsa");
    assert!(["", "jwt", "at+jwt", "application/jwt", "application/at+jwt"].contains(&header("typ").as_str()));
    assert_eq!(claims["iss"], ISSUER);
    let audiences = match &claims["aud"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    assert!(audiences.contains(&json!("flexgate")), "it is for somebody else");
    #[expect(clippy::cast_precision_loss, reason = "the oracle tolerates a second")]
    let now = NOW.unix_timestamp() as f64;
    let time = |name: &str| claims.get(name).filter(|value| !value.is_null()).map(|value| value.as_f64().unwrap());
    assert!(time("exp").unwrap() > now - LEEWAY - 1.0, "it has expired");
    assert!(time("nbf").is_none_or(|at| at < now + LEEWAY + 1.0), "it is not valid yet");
    assert!(time("iat").is_none_or(|at| at < now + LEEWAY + 1.0), "it is from the future");
    assert!(absent(&claims, "cnf") && absent(&claims, "events"), "{claims:?}");
    // A token with a nonce is an ID token unless its `typ` says otherwise, and this issuer's ID tokens are not
    // accepted.
    assert!(absent(&claims, "nonce") || header("typ").ends_with("at+jwt"), "{claims:?}");
    assert_eq!(claims["sub"], *caller.identity.subject, "another subject");
    assert_eq!(&*caller.identity.issuer, ISSUER);
    let names = |claim: &str| -> Vec<String> {
        match claims.get(claim) {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::Object(map)) => map.keys().cloned().collect(),
            Some(Value::String(text)) => {
                text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';')).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    };
    let (groups, scopes) = (names("groups"), names("scope"));
    assert!(!caller.roles.contains(&Role::Admin), "no group gives this role");
    assert!(!caller.roles.contains(&Role::Supervisor) || groups.contains(&"leads".to_owned()), "{groups:?}");
    assert!(!caller.roles.contains(&Role::Agent) || groups.contains(&"staff".to_owned()), "{groups:?}");
    for scope in [Scope::Token, Scope::TokenAny, Scope::UsersRead, Scope::UsersWrite] {
        assert!(!caller.scopes.grant(scope) || scopes.contains(&scope.as_str().to_owned()), "{scope}: {scopes:?}");
    }
    let is_verified = claims.get("email_verified").is_some_and(|value| match value {
        Value::String(text) => text == "1" || text.eq_ignore_ascii_case("true"),
        value => *value == true || value.as_f64() == Some(1.0),
    });
    if let Some(email) = &caller.verified_email {
        assert!(is_verified, "nobody verified the e-mail address");
        assert!(claims["email"].as_str().unwrap().trim().eq_ignore_ascii_case(email.as_str()));
    }
    if let Some(username) = &caller.username {
        let claimed = claims["preferred_username"].as_str().unwrap();
        assert_eq!(claimed.parse().ok().as_ref(), Some(username), "another username");
    }
}

/// Decodes a segment of a token without Flexgate's code.
fn object(segment: &str) -> Map<String, Value> {
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap();
    value.as_object().cloned().unwrap()
}
