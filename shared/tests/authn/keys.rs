//! Tests the cache of an issuer's keys: M4 to M6 and M23 of the attack register.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use flexgate::authn::{CallerError, TokenFault, Verifier, issuers};
use flexgate::base::clock_rng::{ClockRng, SystemRng};
use flexgate::base::outbound::{Deadline, http_client};
use serde_json::{Value, json};
use time::Duration;

use crate::issuer::*;

fn named(idp: &Idp, signer: &Signer, kid: &Value) -> String {
    signer.token(header(&json!({ "kid": kid })), idp.claims_with(&json!({"exp": FAR})).to_string())
}

/// The prefix of a SHA-256 digest in PKCS #1 (RFC 8017 §9.2).
const SHA256: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// An expiry time in the far future, in Unix seconds.
const FAR: i64 = 4_000_000_000;

fn is_unavailable(verdict: &Result<flexgate::domain::Caller, CallerError>) -> bool {
    matches!(verdict, Err(CallerError::Unavailable { retry_after }) if !retry_after.is_zero())
}

#[tokio::test]
async fn m04_unknown_keys_cause_one_fetch_a_minute() {
    for warm in [true, false] {
        let idp = Idp::new().await;
        if warm {
            idp.verifier.prewarm(soon()).await;
        }
        for n in 0..100 {
            let token = named(&idp, &ES256, &json!(format!("k{n}-unknown")));
            assert_eq!(idp.fault(&token).await, TokenFault::KeyUnknown);
        }
        assert_eq!(idp.key_fetches(), 1 + usize::from(warm));
        idp.clock.advance(Duration::seconds(59));
        idp.fault(&named(&idp, &ES256, &json!("x"))).await;
        assert_eq!(idp.key_fetches(), 1 + usize::from(warm));
        idp.clock.advance(Duration::seconds(1));
        idp.fault(&named(&idp, &ES256, &json!("x"))).await;
        idp.fault(&named(&idp, &ES256, &json!("y"))).await;
        assert_eq!(idp.key_fetches(), 2 + usize::from(warm));
    }
}

#[tokio::test]
async fn keys_that_could_not_be_fetched_ahead_are_fetched_for_the_first_caller() {
    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!("k1"));
    *idp.served.delay.lock().unwrap() = StdDuration::from_millis(200);
    idp.verifier.prewarm(Deadline::after(StdDuration::from_millis(20))).await;
    assert!(idp.verify(&token).await.is_ok(), "the issuer was only slow");

    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!("k1"));
    idp.answer_with(503);
    idp.verifier.prewarm(soon()).await;
    assert!(is_unavailable(&idp.verify(&token).await));
    assert_eq!(idp.key_fetches(), 2);
    assert!(is_unavailable(&idp.verify(&token).await), "and then it is left alone for a while");
    assert_eq!(idp.key_fetches(), 2);
}

#[tokio::test]
async fn m04_at_once_they_cause_one_fetch() {
    let idp = Idp::new().await;
    idp.verifier.prewarm(soon()).await;
    *idp.served.delay.lock().unwrap() = StdDuration::from_millis(50);
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (verifier, token) = (idp.verifier.clone(), named(&idp, &ES256, &json!(format!("unknown-{n}"))));
        requests.spawn(async move { verifier.verify_token(&token, soon()).await });
    }
    for verdict in requests.join_all().await {
        assert_eq!(verdict.unwrap_err(), CallerError::Invalid(TokenFault::KeyUnknown));
    }
    assert_eq!(idp.key_fetches(), 2);
}

#[tokio::test]
async fn m04_an_unknown_key_is_refused_even_if_the_issuer_is_down() {
    let idp = Idp::new().await;
    idp.verifier.prewarm(soon()).await;
    idp.answer_with(503);
    for _ in 0..3 {
        assert_eq!(idp.fault(&named(&idp, &ES256, &json!("x"))).await, TokenFault::KeyUnknown);
    }
    assert_eq!(idp.key_fetches(), 2);
    assert!(idp.verify(&named(&idp, &ES256, &json!("k1"))).await.is_ok());
}

/// Anybody can forge signatures for the weak keys in this test.
#[tokio::test]
async fn m28_weak_keys_of_an_issuer_are_not_used() {
    let idp = Idp::new().await;
    let claims = idp.claims_with(&json!({ "exp": FAR })).to_string();
    let message = |alg: &str| {
        let header = header(&json!({ "alg": alg, "kid": "weak" }));
        format!("{}.{}", b64(header), b64(&claims))
    };
    // If a key has a small order, anybody can forge a signature. For some messages, the neutral element and the number
    // 0 are a valid signature.
    let mut neutral = [0_u8; 32];
    neutral[0] = 1;
    let mut nothing = neutral.to_vec();
    nothing.resize(64, 0);
    let of_order_two = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
    let not_reduced = [&[0xee][..], &[0xff; 30], &[0x7f]].concat();
    let negative = [&[1][..], &[0; 30], &[0x80]].concat();
    for x in [neutral.to_vec(), vec![0; 32], of_order_two, not_reduced, negative] {
        idp.clock.advance(Duration::HOUR);
        idp.publish(&json!([ES256.jwk("k1"), { "kty": "OKP", "crv": "Ed25519", "kid": "weak", "x": b64(&x) }]));
        let token = format!("{}.{}", message("EdDSA"), b64(&nothing));
        assert_eq!(idp.fault(&token).await, TokenFault::KeyUnknown, "{x:?}");
    }
    // With an exponent of 1, the padded digest of a message is a valid signature.
    let modulus = json!(RS256.jwk("weak")["n"]);
    let digest = ring::digest::digest(&ring::digest::SHA256, message("RS256").as_bytes());
    let padded = [&[0, 1][..], &[0xff; 202], &[0], &SHA256, digest.as_ref()].concat();
    for exponent in ["AQ", "AAAAAQ"] {
        idp.clock.advance(Duration::HOUR);
        idp.publish(&json!([ES256.jwk("k1"), { "kty": "RSA", "kid": "weak", "n": modulus, "e": exponent }]));
        let token = format!("{}.{}", message("RS256"), b64(&padded));
        assert_eq!(idp.fault(&token).await, TokenFault::KeyUnknown, "{exponent}");
    }
    // An attacker can factor this short modulus.
    let short = b64([0xff_u8; 128]);
    idp.clock.advance(Duration::HOUR);
    idp.publish(&json!([ES256.jwk("k1"), { "kty": "RSA", "kid": "weak", "n": short, "e": "AQAB" }]));
    let token = format!("{}.{}", message("RS256"), b64([1_u8; 128]));
    assert_eq!(idp.fault(&token).await, TokenFault::KeyUnknown);
}

#[tokio::test]
async fn m05_a_new_key_is_found_by_one_fetch() {
    let idp = Idp::new().await;
    assert!(idp.judge(json!({})).await.is_ok());
    let next = es256();
    idp.publish(&json!([ES256.jwk("k1"), next.jwk("k2")]));
    for _ in 0..3 {
        assert!(idp.verify(&named(&idp, &next, &json!("k2"))).await.is_ok());
    }
    assert!(idp.judge(json!({})).await.is_ok());
    assert_eq!(idp.key_fetches(), 2);
}

#[tokio::test]
async fn m05_a_withdrawn_key_is_refused_once_the_set_is_old() {
    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!("k1"));
    assert!(idp.verify(&token).await.is_ok());
    idp.publish(&json!([es256().jwk("k2")]));
    idp.clock.advance(Duration::minutes(5));
    assert_eq!(idp.fault(&token).await, TokenFault::KeyUnknown);
}

#[tokio::test]
async fn m06_a_key_need_not_be_named_if_there_is_one() {
    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!(null));
    assert!(idp.verify(&token).await.is_ok());
    idp.publish(&json!([ES256.jwk("k1"), EDDSA.jwk("k2")]));
    idp.clock.advance(Duration::minutes(5));
    assert!(idp.verify(&token).await.is_ok(), "one key of this algorithm");
    idp.publish(&json!([ES256.jwk("k1"), es256().jwk("k2")]));
    idp.clock.advance(Duration::minutes(5));
    assert_eq!(idp.fault(&token).await, TokenFault::KeyMissing);
    assert_eq!(idp.key_fetches(), 3);
    for kid in [json!(1), json!(["k1"]), json!({"k1": 1})] {
        assert_eq!(idp.fault(&named(&idp, &ES256, &kid)).await, TokenFault::Header("kid"));
    }
}

#[tokio::test]
async fn m09_an_issuer_signs_only_for_itself() {
    let (ours, theirs) = (Idp::new().await, Idp::new().await);
    let their_key = es256();
    theirs.publish(&json!([their_key.jwk("k1"), their_key.jwk("k2")]));
    let settings = [&ours, &theirs].map(
        |idp| json!({"issuer": idp.issuer, "audiences": ["flexgate"], "jwks_uri": format!("{}/keys", idp.origin)}),
    );
    let clock_rng = ClockRng { clock: ours.clock.clone(), rng: Arc::new(SystemRng) };
    let verifier = Verifier::new(issuers(&json!(settings).to_string()).unwrap(), http_client(&[]).unwrap(), clock_rng);
    verifier.prewarm(soon()).await;
    let fault = async |kid: &str| {
        let forged = their_key.token(header(&json!({ "kid": kid })), ours.claims().to_string());
        verifier.verify_token(&forged, soon()).await.unwrap_err()
    };
    assert_eq!(fault("k1").await, CallerError::Invalid(TokenFault::Signature));
    assert_eq!(fault("k2").await, CallerError::Invalid(TokenFault::KeyUnknown));
    let genuine = their_key.token(header(&json!({})), theirs.claims().to_string());
    let caller = verifier.verify_token(&genuine, soon()).await.unwrap();
    assert_eq!(&*caller.identity.issuer, &*theirs.issuer);
}

#[tokio::test]
async fn a_key_for_encryption_verifies_nothing() {
    let idp = Idp::new().await;
    let mut for_encryption = ES256.jwk("k1");
    for_encryption["use"] = json!("enc");
    idp.publish(&json!([for_encryption, EDDSA.jwk("k2")]));
    assert_eq!(idp.fault(&named(&idp, &ES256, &json!("k1"))).await, TokenFault::KeyUnknown);
}

#[tokio::test]
async fn m23_without_keys_nobody_is_known() {
    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!("k1"));
    idp.answer_with(503);
    for _ in 0..10 {
        assert!(is_unavailable(&idp.verify(&token).await));
    }
    assert_eq!(idp.key_fetches(), 1, "a dead issuer is not hammered");
    idp.clock.advance(Duration::seconds(5));
    idp.answer_with(200);
    assert!(idp.verify(&token).await.is_ok());
    assert_eq!(idp.key_fetches(), 2);
}

#[tokio::test]
async fn m23_warm_keys_outlive_a_dead_issuer_for_a_day() {
    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!("k1"));
    idp.verifier.prewarm(soon()).await;
    idp.answer_with(500);
    idp.clock.advance(Duration::minutes(5));
    for _ in 0..10 {
        assert!(idp.verify(&token).await.is_ok());
    }
    assert_eq!(idp.key_fetches(), 2, "one attempt, then a pause");
    idp.clock.advance(Duration::seconds(60));
    assert!(idp.verify(&token).await.is_ok());
    assert_eq!(idp.key_fetches(), 3);
    idp.clock.advance(Duration::hours(24));
    assert!(is_unavailable(&idp.verify(&token).await));
}

#[tokio::test]
async fn m23_an_answer_that_is_no_key_set_replaces_nothing() {
    let idp = Idp::new().await;
    let token = named(&idp, &ES256, &json!("k1"));
    idp.verifier.prewarm(soon()).await;
    for document in [json!("<html>"), json!({"keys": []}), json!({"keys": [{"kty": "oct", "kid": "k1", "k": "AAAA"}]})]
    {
        *idp.served.keys.lock().unwrap() = document;
        idp.clock.advance(Duration::minutes(6));
        assert!(idp.verify(&token).await.is_ok());
    }
    assert_eq!(idp.key_fetches(), 4);
}

#[tokio::test]
async fn keys_are_kept_as_long_as_the_issuer_says_within_bounds() {
    for (cache_control, kept) in [
        (None, Duration::minutes(5)),
        (Some("no-store"), Duration::minutes(5)),
        (Some("max-age=1"), Duration::minutes(5)),
        (Some("public, max-age=3600"), Duration::hours(1)),
        (Some("max-age=31536000"), Duration::hours(24)),
    ] {
        let idp = Idp::new().await;
        *idp.served.header.lock().unwrap() = cache_control.map(|value| ("cache-control", value));
        let token = named(&idp, &ES256, &json!("k1"));
        assert!(idp.verify(&token).await.is_ok());
        idp.clock.advance(kept - Duration::SECOND);
        assert!(idp.verify(&token).await.is_ok());
        assert_eq!(idp.key_fetches(), 1, "{cache_control:?}");
        idp.clock.advance(Duration::SECOND);
        assert!(idp.verify(&token).await.is_ok());
        assert_eq!(idp.key_fetches(), 2, "{cache_control:?}");
    }
}

#[tokio::test]
async fn the_first_callers_share_one_fetch() {
    let idp = Idp::with(json!({"jwks_uri": null})).await;
    *idp.served.delay.lock().unwrap() = StdDuration::from_millis(50);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (idp.verifier.clone(), idp.token(&json!({})));
        requests.spawn(async move { verifier.verify_token(&token, soon()).await.is_ok() });
    }
    assert!(requests.join_all().await.into_iter().all(|accepted| accepted));
    assert_eq!((idp.key_fetches(), idp.other_requests()), (1, 1));
}

#[tokio::test]
async fn a_caller_out_of_time_is_told_so() {
    let idp = Idp::new().await;
    *idp.served.delay.lock().unwrap() = StdDuration::from_mins(1);
    let deadline = Deadline::after(StdDuration::from_millis(50));
    assert!(is_unavailable(&idp.verifier.verify_token(&idp.token(&json!({})), deadline).await));
}

#[tokio::test]
async fn an_oversized_or_redirected_key_set_is_not_read() {
    let idp = Idp::new().await;
    let mut keys = json!({"keys": [ES256.jwk("k1")]});
    keys["pad"] = json!("x".repeat(256 * 1024));
    *idp.served.keys.lock().unwrap() = keys;
    assert!(is_unavailable(&idp.judge(json!({})).await));
    let idp = Idp::new().await;
    idp.answer_with(302);
    *idp.served.header.lock().unwrap() = Some(("location", "/evil"));
    assert!(is_unavailable(&idp.judge(json!({})).await));
    assert_eq!(idp.other_requests(), 0);
}

#[tokio::test]
async fn metadata_must_be_the_issuers_own() {
    let idp = Idp::with(json!({"jwks_uri": null})).await;
    assert!(idp.judge(json!({})).await.is_ok());
    for metadata in [
        json!({"issuer": "{issuer}/", "jwks_uri": "{origin}/keys"}),
        json!({"issuer": "https://other.example", "jwks_uri": "{origin}/keys"}),
        json!({"jwks_uri": "{origin}/keys"}),
        json!({"issuer": "{issuer}"}),
        json!({"issuer": "{issuer}", "jwks_uri": "http://keys.example/"}),
        json!({"issuer": "{issuer}", "jwks_uri": "file:///etc/passwd"}),
    ] {
        let idp = Idp::with(json!({"jwks_uri": null})).await;
        let metadata = metadata.to_string().replace("{origin}", &idp.origin).replace("{issuer}", &idp.issuer);
        *idp.served.metadata.lock().unwrap() = serde_json::from_str(&metadata).unwrap();
        assert!(is_unavailable(&idp.judge(json!({})).await), "{metadata}");
        assert_eq!((idp.key_fetches(), idp.other_requests()), (0, 1));
    }
}
