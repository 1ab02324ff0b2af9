//! Tests signals while the transmitter's keys change or cannot be fetched (attack G12 of the attack register). A
//! transmitter does not send a refused signal again. So Flexgate must not refuse a genuine signal because it lacks the
//! current keys.

use time::Duration;

use super::signals::{AUDIENCE, CAEP};
use super::*;

impl Hooks {
    /// Replaces the transmitter's signing key.
    async fn rotate_keys(&self) {
        self.world.ask(http::Method::POST, "/idp/__dev/rotate-keys", &json!({})).await;
    }

    /// Makes the transmitter's keys unreachable.
    async fn take_keys_down(&self) {
        let down =
            json!({ "service": "idp", "path_contains": "/jwks", "kind": "status", "status": 503, "times": "always" });
        self.world.fault(&down).await;
    }
}

/// Asserts that the answer tells the transmitter to send the signal again after this many seconds.
fn shall_wait(reply: &Reply, seconds: &str) {
    assert_eq!(reply.problem(), (503, "unavailable".to_owned()));
    assert_eq!(reply.header("retry-after"), seconds);
}

#[tokio::test]
async fn g12_while_the_keys_cannot_be_fetched_the_transmitter_must_try_again() {
    let world = World::on_one_clock().await;
    world.write_secret("webhook-secrets", &secrets());
    let issuer = world.simulator.issuer();
    let mut sources = sources();
    // The simulator has no transmitter at this URL, so Flexgate cannot find its keys.
    let elsewhere = format!("{issuer}/elsewhere");
    sources["signals"] = json!({ "kind": "ssf", "transmitter": elsewhere, "audience": AUDIENCE });
    let hooks = Hooks::over(world, &sources).await;
    let reply = hooks.push(hooks.set(&json!({ "iss": elsewhere })).await).await;
    shall_wait(&reply, "5");
    hooks.nothing_queued().await;
}

#[tokio::test]
async fn g12_a_signal_with_a_new_key_is_not_refused_while_the_keys_cannot_be_fetched() {
    let hooks = Hooks::with_signals().await;
    let session = hooks.begin("old", 60).await;
    let strange = json!({ format!("{CAEP}/assurance-level-change"): {} });
    assert_eq!(hooks.push(hooks.set(&json!({ "events": strange })).await).await.status, 202);
    let nobody = json!({ "format": "email", "email": "nobody@example.com" });
    assert_eq!(hooks.revoke(&hooks.revocation(&json!({})).await, &nobody).await.status, 404);
    hooks.settle().await;

    hooks.rotate_keys().await;
    hooks.take_keys_down().await;
    let (event, revocation) = (hooks.set(&json!({})).await, hooks.revocation(&json!({})).await);
    shall_wait(&hooks.push(event.clone()).await, "60");
    shall_wait(&hooks.revoke(&revocation, &hooks.ada()).await, "60");
    hooks.nothing_queued().await;

    hooks.world.no_faults().await;
    hooks.world.advance(Duration::seconds(60)).await;
    assert_eq!(hooks.push(event).await.status, 202);
    assert_eq!(hooks.revoke(&revocation, &hooks.ada()).await.status, 204);
    hooks.settle().await;
    assert!(!hooks.lasts(&session).await);
}

#[tokio::test]
async fn g12_nonsense_does_not_make_flexgate_refuse_a_genuine_signal() {
    let hooks = Hooks::with_signals().await;
    let nonsense = hooks.push(hooks.set(&json!({ "key": "unknown" })).await).await;
    assert_eq!((nonsense.status.as_u16(), nonsense.body["err"].as_str()), (400, Some("invalid_key")));
    let nonsense = hooks.revoke(&hooks.revocation(&json!({ "key": "unknown" })).await, &hooks.ada()).await;
    assert_eq!(nonsense.problem(), (401, "token_invalid".to_owned()));

    hooks.rotate_keys().await;
    let (event, revocation) = (hooks.set(&json!({})).await, hooks.revocation(&json!({})).await);
    shall_wait(&hooks.push(event.clone()).await, "60");
    shall_wait(&hooks.revoke(&revocation, &hooks.ada()).await, "60");
    hooks.world.advance(Duration::seconds(60)).await;
    // This forged token makes Flexgate fetch the new keys, which the genuine signals need.
    assert_eq!(hooks.push(hooks.set(&json!({ "key": "unknown" })).await).await.status, 400);
    assert_eq!(hooks.push(event).await.status, 202);
    assert_eq!(hooks.revoke(&revocation, &hooks.ada()).await.status, 204);
}
