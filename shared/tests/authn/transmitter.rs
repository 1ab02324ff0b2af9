//! Tests the keys of transmitters, the systems that send signed security events (attack G12 of the attack register). A
//! transmitter does not send a refused event again, so Flexgate must not refuse an event because of keys that may be
//! outdated.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use flexgate::authn::{CallerError, SignalToken, TokenFault, Transmitter};
use flexgate::base::clock_rng::{ClockRng, SystemRng};
use flexgate::base::outbound::{Deadline, http_client};
use serde_json::{Value, json};
use time::Duration;

use crate::issuer::*;

/// A transmitter whose keys `Idp` publishes. At first, the only key is `k1`.
struct Signals {
    idp: Idp,
    transmitter: Arc<Transmitter>,
}

impl Signals {
    async fn new() -> Self {
        let idp = Idp::new().await;
        let clock_rng = ClockRng { clock: idp.clock.clone(), rng: Arc::new(SystemRng) };
        let keys = format!("{}/keys", idp.origin);
        let http = http_client(&[]).unwrap();
        let kind = SignalToken::SecurityEvent;
        let transmitter = Transmitter::new(kind, &idp.issuer, "flexgate", Some(&keys), http, clock_rng);
        Self { idp, transmitter: Arc::new(transmitter) }
    }

    /// Returns a transmitter whose key `k1` Flexgate has already fetched.
    async fn warm() -> Self {
        let signals = Self::new().await;
        signals.transmitter.prewarm(soon()).await;
        signals
    }

    fn token(&self, signer: &Signer, kid: &Value) -> String {
        let header = header(&json!({ "alg": signer.alg(), "typ": "secevent+jwt", "kid": kid }));
        signer.token(header, self.idp.claims_with(&json!({ "exp": null, "jti": "1" })).to_string())
    }

    async fn verify(&self, token: &str) -> Result<(), CallerError> {
        self.transmitter.verify(token, soon()).await.map(drop)
    }

    /// Sends a token with an unknown key, as anybody can. This starts the pause before the next fetch for an unknown
    /// key.
    async fn send_nonsense(&self) {
        assert_eq!(self.verify(&self.token(&es256(), &json!("nonsense"))).await, Err(TokenFault::KeyUnknown.into()));
    }
}

fn wait(seconds: u64) -> Result<(), CallerError> {
    Err(CallerError::Unavailable { retry_after: StdDuration::from_secs(seconds) })
}

#[tokio::test]
async fn g12_a_new_key_is_not_unknown_while_the_keys_cannot_be_fetched() {
    let signals = Signals::warm().await;
    let next = es256();
    let token = signals.token(&next, &json!("k2"));
    signals.idp.publish(&json!([ES256.jwk("k1"), next.jwk("k2")]));
    signals.idp.answer_with(503);
    assert_eq!(signals.verify(&token).await, wait(60));
    signals.idp.clock.advance(Duration::seconds(20));
    assert_eq!(signals.verify(&token).await, wait(40));
    assert_eq!(signals.idp.key_fetches(), 2);
    assert_eq!(signals.verify(&signals.token(&ES256, &json!("k1"))).await, Ok(()));
    signals.idp.answer_with(200);
    signals.idp.clock.advance(Duration::seconds(40));
    assert_eq!(signals.verify(&token).await, Ok(()));
}

#[tokio::test]
async fn g12_whatever_newer_keys_could_verify_waits_for_them() {
    let next = es256();
    for (before, kid, after) in [
        // In each case, the transmitter adds a key, replaces a key, or changes the algorithm. The token is signed with
        // the new key, and names this key or no key.
        (json!([ES256.jwk("k1")]), json!("k2"), json!([ES256.jwk("k1"), next.jwk("k2")])),
        (json!([ES256.jwk("k1")]), json!("k1"), json!([next.jwk("k1")])),
        (json!([ES256.jwk("k1"), ES384.jwk("k2")]), json!(null), json!([next.jwk("k1")])),
        (json!([ES256.jwk("k1"), es256().jwk("k2")]), json!(null), json!([next.jwk("k1")])),
        (json!([RS256.jwk("k1")]), json!("k1"), json!([next.jwk("k1")])),
        (json!([RS256.jwk("k1")]), json!(null), json!([next.jwk("k1")])),
    ] {
        let signals = Signals::new().await;
        signals.idp.publish(&before);
        signals.send_nonsense().await;
        signals.idp.publish(&after);
        let token = signals.token(&next, &kid);
        assert_eq!(signals.verify(&token).await, wait(60), "{before} {kid}");
        assert_eq!(signals.idp.key_fetches(), 1);
        signals.idp.clock.advance(Duration::seconds(60));
        assert_eq!(signals.verify(&token).await, Ok(()), "{before} {kid}");
    }
}

#[tokio::test]
async fn g12_stale_keys_do_not_refuse_either() {
    let signals = Signals::warm().await;
    let next = es256();
    signals.idp.publish(&json!([next.jwk("k1")]));
    signals.idp.answer_with(500);
    signals.idp.clock.advance(Duration::minutes(5));
    assert_eq!(signals.verify(&signals.token(&ES256, &json!("k1"))).await, Ok(()));
    for token in [signals.token(&next, &json!("k1")), signals.token(&next, &json!("k2"))] {
        assert_eq!(signals.verify(&token).await, wait(60));
    }
    signals.idp.clock.advance(Duration::hours(25));
    assert_eq!(signals.verify(&signals.token(&ES256, &json!("k1"))).await, wait(60), "they are too old");
    let cold = Signals::new().await;
    cold.idp.answer_with(500);
    for _ in 0..2 {
        assert_eq!(cold.verify(&cold.token(&ES256, &json!("k1"))).await, wait(5));
    }
    assert_eq!(cold.idp.key_fetches(), 1);
}

#[tokio::test]
async fn g12_keys_that_were_fetched_for_the_token_refuse_it() {
    for warm in [true, false] {
        let signals = if warm { Signals::warm().await } else { Signals::new().await };
        for kid in ["k1", "k2"] {
            let verdict = signals.verify(&signals.token(&es256(), &json!(kid))).await;
            let fault = if kid == "k1" { TokenFault::Signature } else { TokenFault::KeyUnknown };
            assert_eq!(verdict, Err(fault.into()));
            assert_eq!(signals.verify(&signals.token(&es256(), &json!(kid))).await, wait(60));
            signals.idp.clock.advance(Duration::seconds(60));
        }
        assert_eq!(signals.idp.key_fetches(), 2 + usize::from(warm));
    }
}

/// A fetch for an earlier token may have read the keys before the transmitter published a new key. So Flexgate must not
/// refuse a later token because of the keys from that fetch.
#[tokio::test]
async fn g12_a_fetch_that_began_before_a_token_arrived_does_not_refuse_it() {
    let signals = Signals::warm().await;
    *signals.idp.served.delay.lock().unwrap() = StdDuration::from_secs(2);
    let verify = |kid: &str| {
        let (transmitter, token) = (signals.transmitter.clone(), signals.token(&es256(), &json!(kid)));
        tokio::spawn(async move { transmitter.verify(&token, soon()).await.map(drop) })
    };
    let early = verify("a");
    while signals.idp.key_fetches() < 2 {
        tokio::time::sleep(StdDuration::from_millis(5)).await;
    }
    let late = [verify("b"), verify("k1")];
    assert_eq!(early.await.unwrap(), Err(TokenFault::KeyUnknown.into()));
    for verdict in late {
        assert_eq!(verdict.await.unwrap(), wait(60));
    }
    assert_eq!(signals.idp.key_fetches(), 2);
}

#[tokio::test]
async fn g12_a_token_that_is_out_of_time_is_not_refused() {
    let signals = Signals::warm().await;
    *signals.idp.served.delay.lock().unwrap() = StdDuration::from_mins(1);
    let deadline = Deadline::after(StdDuration::from_millis(50));
    let verdict = signals.transmitter.verify(&signals.token(&es256(), &json!("k2")), deadline).await;
    assert!(matches!(verdict, Err(CallerError::Unavailable { .. })));
}
