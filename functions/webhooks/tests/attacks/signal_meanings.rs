//! Tests what each type of security event means, and whom it names.

use flexgate::store::EndingKey;
use time::Duration;

use super::signals::{AUDIENCE, CAEP, RISC};
use super::*;

#[tokio::test]
async fn a_signal_ends_the_sessions_that_began_before_it() {
    let hooks = Hooks::with_signals().await;
    let log = flexgate_test_support::Log::start();
    let (old, new) = (hooks.begin("old", 60).await, hooks.begin("new", 0).await);
    let at = hooks.now() - 30;
    let events = json!({ format!("{CAEP}/session-revoked"): { "event_timestamp": at } });
    let reply = hooks.push(hooks.set(&json!({ "events": events })).await).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (202, ""));
    hooks.settle().await;
    assert!(!hooks.lasts(&old).await && hooks.lasts(&new).await);
    assert_eq!(hooks.user("ada").await["deactivated"], false, "ada keeps her access");
    let key = EndingKey::FlexUser(hooks.sid("ada").await);
    let ended = hooks.platform.session_endings().ended_until(&[key]).await.unwrap();
    assert_eq!(ended.0.unwrap().unix_timestamp(), at);
    let text = log.text();
    let audit: Vec<_> = text.lines().filter(|line| line.contains("end_session")).collect();
    assert_eq!(audit.len(), 1, "{text}");
    for says in ["signals", "session-revoked", old.as_str(), "its token lives until"] {
        assert!(audit[0].contains(says), "{says}: {}", audit[0]);
    }
}

#[tokio::test]
async fn each_type_has_its_meaning() {
    let hooks = Hooks::with_signals().await;
    let ends = [
        (format!("{RISC}/sessions-revoked"), json!({})),
        (format!("{CAEP}/credential-change"), json!({ "change_type": "revoke", "credential_type": "password" })),
        (format!("{CAEP}/device-compliance-change"), json!({ "current_status": "not-compliant" })),
    ];
    let spares = [
        (format!("{CAEP}/credential-change"), json!({ "change_type": "create" })),
        (format!("{CAEP}/device-compliance-change"), json!({ "current_status": "compliant" })),
        (format!("{CAEP}/assurance-level-change"), json!({})),
        (format!("{RISC}/identifier-changed"), json!({ "new-value": "x" })),
        ("https://schemas.openid.net/secevent/ssf/event-type/verification".into(), json!({ "state": "x" })),
        ("https://schemas.openid.net/secevent/ssf/event-type/stream-updated".into(), json!({ "status": "paused" })),
        ("https://other.example/session-revoked".into(), json!({})),
    ];
    for (ended, cases) in [(true, &ends[..]), (false, &spares[..])] {
        for (kind, event) in cases {
            let session = hooks.begin(kind, 10).await;
            let events = json!({ kind: event });
            assert_eq!(hooks.push(hooks.set(&json!({ "events": events })).await).await.status, 202, "{kind}");
            hooks.settle().await;
            assert_eq!(hooks.lasts(&session).await, !ended, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_disabled_account_is_deactivated_and_an_enabled_one_may_come_back() {
    let hooks = Hooks::with_signals().await;
    let session = hooks.begin("one", 10).await;
    let event = |kind: &str| json!({ "events": { format!("{RISC}/{kind}"): {} } });
    hooks.push(hooks.set(&event("account-disabled")).await).await;
    hooks.settle().await;
    assert!(!hooks.lasts(&session).await);
    assert_eq!(hooks.user("ada").await["deactivated"], true);
    let twin = clerk("user.updated", "ada", hooks.now() * 1000);
    hooks.standard("msg_2", &twin).await;
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["deactivated"], true, "another source does not bring her back");
    hooks.world.advance(Duration::seconds(2)).await;
    hooks.push(hooks.set(&event("account-enabled")).await).await;
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["deactivated"], false);
    assert_eq!(hooks.dead().await.len(), 0);
}

#[tokio::test]
async fn settings_change_what_a_type_means() {
    let world = World::on_one_clock().await;
    world.write_secret("webhook-secrets", &secrets());
    let events = json!({ "device-compliance-change": "ignore", "credential-compromise": "end_sessions",
                         "https://schemas.openid.net/secevent/caep/event-type/session-revoked": "deactivate" });
    let mut sources = sources();
    sources["signals"] = json!({ "kind": "ssf", "transmitter": world.simulator.issuer(), "audience": AUDIENCE,
                                 "people_of": "standard", "events": events });
    let hooks = Hooks::over(world, &sources).await;
    hooks.standard("msg_ada", &clerk("user.created", "ada", (hooks.now() - 3600) * 1000)).await;
    hooks.settle().await;
    for (kind, lasts) in
        [("caep/event-type/device-compliance-change", true), ("risc/event-type/credential-compromise", false)]
    {
        let session = hooks.begin(kind, 10).await;
        let kind = format!("https://schemas.openid.net/secevent/{kind}");
        let events = json!({ kind: { "current_status": "not-compliant" } });
        assert_eq!(hooks.push(hooks.set(&json!({ "events": events })).await).await.status, 202);
        hooks.settle().await;
        assert_eq!(hooks.lasts(&session).await, lasts);
    }
    hooks.push(hooks.set(&json!({})).await).await;
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["deactivated"], true);
}

#[tokio::test]
async fn people_are_found_by_email_address_and_by_the_identity_in_their_tokens() {
    let hooks = Hooks::with_signals().await;
    let at = (hooks.now() - 3600) * 1000;
    let mut bob = clerk("user.created", "bob@example.com", at);
    bob["data"]["id"] = json!("user_bob");
    hooks.standard("msg_bob", &bob).await;
    hooks.settle().await;
    let identity = flexgate::domain::Identity { issuer: hooks.issuer().into(), subject: "sub-ada".into() };
    let now = hooks.world.clock_rng().now();
    hooks.platform.bindings().bind(&identity, &hooks.sid("ada").await, now).await.unwrap();
    let session = hooks.begin("ada", 10).await;
    hooks
        .push(hooks.set(&json!({ "sub_id": { "format": "iss_sub", "iss": hooks.issuer(), "sub": "sub-ada" } })).await)
        .await;
    hooks.push(hooks.set(&json!({ "sub_id": { "format": "email", "email": "BOB@example.com" } })).await).await;
    hooks.settle().await;
    assert!(!hooks.lasts(&session).await);
    let bob = EndingKey::FlexUser(hooks.sid("bob@example.com").await);
    assert!(hooks.platform.session_endings().ended_until(&[bob]).await.unwrap().0.is_some());
}
