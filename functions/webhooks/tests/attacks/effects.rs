//! Tests the effects of deliveries on Flex users (attacks W4, W5, W7, W9, W11, W13 and W15 of the attack register).

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use flexgate::base::clock_rng::{Rng, SystemRng};
use flexgate::base::outbound::Deadline;
use flexgate::domain::{Identity, ProfileName};
use flexgate::store::{Session, SessionKey, SessionOrigin};
use time::Duration;

use super::*;

#[tokio::test]
async fn a_user_is_made_changed_and_deactivated_and_nothing_is_sent_when_nothing_differs() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000;
    assert_eq!(hooks.standard("msg_1", &clerk("user.created", "ada", at)).await.body, json!({ "accepted": 1 }));
    hooks.settle().await;
    let ada = hooks.user("ada").await;
    assert_eq!((&ada["email"], &ada["full_name"]), (&json!("ada@example.com"), &json!("Ada Lovelace")));
    assert_eq!((&ada["roles"], hooks.changes().await), (&json!(["agent"]), 1));

    hooks.standard("msg_2", &clerk("user.updated", "ada", at + 1)).await;
    hooks.settle().await;
    assert_eq!(hooks.changes().await, 1, "nothing differs");

    let mut renamed = clerk("user.updated", "ada", at + 2);
    renamed["data"]["last_name"] = "King".into();
    hooks.standard("msg_3", &renamed).await;
    hooks.settle().await;
    assert_eq!((&hooks.user("ada").await["full_name"], hooks.changes().await), (&json!("Ada King"), 2));

    hooks.standard("msg_4", &clerk_deleted("ada", at + 3)).await;
    hooks.settle().await;
    assert_eq!((&hooks.user("ada").await["deactivated"], hooks.changes().await), (&json!(true), 3));
    hooks.standard("msg_5", &clerk_deleted("ada", at + 4)).await;
    hooks.settle().await;
    assert_eq!(hooks.changes().await, 3, "nothing differs");
    assert_eq!(hooks.inbox().count(EventStatus::Applied).await.unwrap(), 5);
}

#[tokio::test]
async fn w04_an_event_delivered_twice_and_at_once_has_one_effect() {
    let hooks = Hooks::start().await;
    let body = clerk("user.created", "ada", hooks.now() * 1000);
    let (a, b, c) =
        tokio::join!(hooks.standard("msg_1", &body), hooks.standard("msg_1", &body), hooks.standard("msg_1", &body));
    assert_eq!([a.status, b.status, c.status], [202; 3].map(|status| http::StatusCode::from_u16(status).unwrap()));
    assert_eq!(hooks.inbox().count(EventStatus::Waiting).await.unwrap(), 1);
    hooks.settle().await;
    assert_eq!(hooks.standard("msg_1", &body).await.status, 202);
    hooks.settle().await;
    assert_eq!((hooks.changes().await, hooks.inbox().count(EventStatus::Applied).await.unwrap()), (1, 1));
    // After a week, the queue has forgotten the event. When the event arrives again after eight days, the ledger (what
    // each source has said about a person) must recognise it, so that Flexgate does not call Twilio again.
    let before = hooks.world.journal("").await.len();
    hooks.world.advance(Duration::days(8)).await;
    hooks.settle().await;
    hooks.inbox().sweep(hooks.world.clock_rng().now()).await.unwrap();
    hooks.standard("msg_1", &body).await;
    hooks.settle().await;
    assert_eq!(hooks.world.journal("").await.len(), before);
}

#[tokio::test]
async fn w05_a_creation_that_comes_after_a_later_deletion_makes_nobody() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000;
    hooks.standard("msg_1", &clerk("user.created", "ada", at - 9000)).await;
    hooks.settle().await;
    hooks.standard("msg_3", &clerk_deleted("ada", at)).await;
    hooks.settle().await;
    for (id, when) in [("msg_2", at - 1), ("msg_4", at)] {
        hooks.standard(id, &clerk("user.updated", "ada", when)).await;
        hooks.settle().await;
        assert_eq!(hooks.user("ada").await["deactivated"], true, "{when}: deactivation wins, also a tie");
    }
    // The deletion event arrives before the creation event.
    hooks.standard("msg_6", &clerk_deleted("grace", at)).await;
    hooks.settle().await;
    hooks.standard("msg_5", &clerk("user.created", "grace", at - 1)).await;
    hooks.settle().await;
    assert_eq!(hooks.user("grace").await, Value::Null);
    // An event that happened after the deletion has an effect.
    hooks.standard("msg_7", &clerk("user.created", "grace", at + 1)).await;
    hooks.settle().await;
    assert_eq!(hooks.user("grace").await["deactivated"], false);
}

fn okta_event(uuid: &str, kind: &str, who: &str, published: &str) -> Value {
    json!({
        "uuid": uuid, "published": published, "eventType": kind, "version": "0", "severity": "INFO",
        "outcome": { "result": "SUCCESS", "reason": null },
        "target": [{ "id": format!("00u_{who}"), "type": "User", "alternateId": format!("{who}@example.com"),
                     "displayName": "Some Body", "detailEntry": null }],
    })
}

fn okta(events: &[Value]) -> Value {
    json!({ "eventType": "com.okta.event_hook", "eventTypeVersion": "1.0", "cloudEventsVersion": "0.1",
            "contentType": "application/json", "data": { "events": events } })
}

#[tokio::test]
async fn w07_of_three_events_one_bad_two_are_applied_and_one_is_kept_with_its_reason() {
    let hooks = Hooks::start().await;
    let time = "2026-01-01T10:00:00.000Z";
    let mut bad = okta_event("2", "user.lifecycle.create", "bad", time);
    bad["target"] = json!([{ "type": "AppUser", "id": "x" }]);
    let batch = okta(&[
        okta_event("1", "user.lifecycle.create", "ada", time),
        bad,
        okta_event("3", "user.lifecycle.create", "grace", time),
    ]);
    assert_eq!(hooks.shared("okta", &batch).await.body, json!({ "accepted": 3 }));
    hooks.settle().await;
    assert_ne!(hooks.user("ada@example.com").await, Value::Null);
    assert_ne!(hooks.user("grace@example.com").await, Value::Null);
    let dead = hooks.dead().await;
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "the event has no target of type User"));
    // A repeated delivery adds no second dead letter.
    hooks.shared("okta", &batch).await;
    hooks.settle().await;
    assert_eq!(hooks.dead().await.len(), 1);
}

fn record(id: &str, group: &str, body: &str, received: u32) -> SqsMessage {
    serde_json::from_value(json!({ "messageId": id, "body": body, "attributes": {
        "MessageGroupId": group, "ApproximateReceiveCount": received.to_string() } }))
    .unwrap()
}

fn batch(records: Vec<SqsMessage>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = records;
    event
}

fn time() -> Deadline {
    Deadline::after(std::time::Duration::from_mins(1))
}

fn message(id: &str, who: &str) -> String {
    json!({ "kind": "event", "id": id, "source": "standard", "occurred_at": "2026-01-01T10:00:00Z",
            "subject": { "id": who }, "action": "upsert",
            "profile": { "username": who, "email": format!("{who}@example.com") } })
    .to_string()
}

#[tokio::test]
async fn w07_of_an_sqs_batch_the_bad_message_is_buried_and_the_rest_applied() {
    let hooks = Hooks::start().await;
    let records = vec![
        record("a", "1", &message("1", "ada"), 1),
        record("b", "2", "{\"kind\":\"event\"}", 1),
        record("c", "3", &message("3", "grace"), 1),
    ];
    let answer = flexgate_apply::batch::handle(hooks.apply(), batch(records), time()).await;
    assert_eq!(answer.batch_item_failures.len(), 0);
    assert_ne!(hooks.user("ada").await, Value::Null);
    assert_ne!(hooks.user("grace").await, Value::Null);
    assert_eq!(
        hooks.dead().await.iter().map(|letter| letter.body.as_str()).collect::<Vec<_>>(),
        ["{\"kind\":\"event\"}"]
    );
}

/// A random number generator that panics at its first call.
#[derive(Debug, Default)]
struct DriesUpOnce(AtomicBool);

impl Rng for DriesUpOnce {
    fn fill(&self, dest: &mut [u8]) {
        assert!(self.0.swap(true, Ordering::Relaxed), "no randomness to give");
        SystemRng.fill(dest);
    }
}

#[tokio::test]
async fn of_an_sqs_batch_a_message_that_makes_it_panic_comes_again_and_the_rest_is_applied() {
    let hooks = Hooks::start().await;
    let apply = |tries: &str| {
        let mut reader = hooks.world.reader().with([("FLEXGATE_APPLY_TRIES", tries)]);
        let settings = flexgate_apply::Settings::read(&mut reader);
        let mut platform = hooks.platform.clone();
        platform.clock_rng.rng = Arc::new(DriesUpOnce::default());
        flexgate_apply::App::new(&reader.finish(settings).unwrap(), &platform)
    };
    let records = || vec![record("a", "1", &message("1", "ada"), 1), record("b", "2", &message("2", "grace"), 1)];
    let app = apply("2");
    let answer = flexgate_apply::batch::handle(&app, batch(records()), time()).await;
    assert_eq!(answer.batch_item_failures.iter().map(|one| one.item_identifier.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!((hooks.user("ada").await, hooks.user("grace").await.is_null()), (Value::Null, false));
    let answer = flexgate_apply::batch::handle(&app, batch(records()), time()).await;
    assert_eq!((answer.batch_item_failures.len(), hooks.user("ada").await.is_null()), (0, false), "the next works");

    // A panic at the last allowed attempt makes the message a dead letter.
    flexgate_apply::batch::handle(&apply("1"), batch(vec![record("c", "3", &message("3", "alan"), 1)]), time()).await;
    assert!(hooks.dead().await.iter().any(|letter| letter.reason.contains("panicked")), "{:?}", hooks.dead().await);
}

#[tokio::test]
async fn of_an_sqs_batch_what_fails_comes_again_with_the_rest_of_its_group() {
    let hooks = Hooks::start().await;
    let mut reader = hooks.world.reader().with([("FLEXGATE_APPLY_TRIES", "2")]);
    let settings = flexgate_apply::Settings::read(&mut reader);
    let app = flexgate_apply::App::new(&reader.finish(settings).unwrap(), &hooks.platform);
    hooks.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": 3 })).await;
    let records = vec![record("a", "ada", &message("1", "ada"), 1), record("b", "ada", &message("2", "ada"), 1)];
    let answer = flexgate_apply::batch::handle(&app, batch(records), time()).await;
    let failed: Vec<_> = answer.batch_item_failures.iter().map(|item| item.item_identifier.as_str()).collect();
    assert_eq!(failed, ["a", "b"]);
    // Flexgate handles all groups of a batch at the same time. If grace's message were in ada's batch, it could get one
    // of the three simulated failures. Therefore, grace's message gets its own batch. The tests of functions/apply
    // check that a failing group does not delay the other groups of its batch.
    let grace = vec![record("c", "grace", &message("3", "grace"), 1)];
    assert_eq!(flexgate_apply::batch::handle(&app, batch(grace), time()).await.batch_item_failures.len(), 0);
    assert_ne!(hooks.user("grace").await, Value::Null);
    // A failure at the last allowed attempt makes the message a dead letter.
    hooks.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": 0 })).await;
    let last = vec![record("a", "ada", &message("1", "ada"), 2)];
    assert_eq!(flexgate_apply::batch::handle(&app, batch(last), time()).await.batch_item_failures.len(), 0);
    let dead = hooks.dead().await;
    assert!(dead[0].reason.contains("Twilio is failing (status 503"), "{}", dead[0].reason);
    assert_eq!((dead[0].source.as_str(), dead[0].event_id.as_str(), dead[0].attempts), ("standard", "1", 2));
}

#[tokio::test]
async fn w09_what_was_tried_at_okta_and_failed_has_no_effect() {
    let hooks = Hooks::start().await;
    for (result, expected) in [("FAILURE", 0), ("DENY", 0), ("UNKNOWN", 0), ("SUCCESS", 1)] {
        let mut event = okta_event(result, "user.lifecycle.create", "ada", "2026-01-01T10:00:00Z");
        event["outcome"]["result"] = result.into();
        let reply = hooks.shared("okta", &okta(&[event])).await;
        assert_eq!((reply.status.as_u16(), reply.body), (202, json!({ "accepted": expected })), "{result}");
        hooks.settle().await;
        assert_eq!(hooks.user("ada@example.com").await != Value::Null, expected == 1, "{result}");
    }
}

#[tokio::test]
async fn w11_of_two_graph_items_the_one_with_a_wrong_state_is_dropped() {
    let hooks = Hooks::start().await;
    let users = [("ada", "oid-1"), ("grace", "oid-2")];
    for (name, oid) in users {
        hooks.standard(name, &clerk("user.created", name, hooks.now() * 1000 - 9)).await;
        hooks.settle().await;
        let sid = hooks.user(name).await["flex_user_sid"].as_str().unwrap().parse().unwrap();
        let issuer = "https://login.microsoftonline.com/tenant-1/v2.0";
        let identity = Identity { issuer: issuer.into(), subject: format!("tenant-1:{oid}").into() };
        hooks.platform.bindings().bind(&identity, &sid, hooks.world.clock_rng().now()).await.unwrap();
    }
    let item = |oid: &str, state: &str| {
        json!({ "subscriptionId": "s", "clientState": state, "changeType": "deleted", "tenantId": "tenant-1",
                "resource": format!("Users/{oid}"), "resourceData": { "id": oid, "@odata.type": "#Microsoft.Graph.User" } })
    };
    let all_wrong = json!({ "value": [item("oid-1", "wrong"), item("oid-2", "")] }).to_string();
    assert_eq!(hooks.post("graph", &[JSON], all_wrong).await.status, 401);
    let body = json!({ "value": [item("oid-1", SECRET), item("oid-2", "wrong")] }).to_string();
    assert_eq!(hooks.post("graph", &[JSON], body).await.body, json!({ "accepted": 1 }));
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["deactivated"], true);
    assert_eq!(hooks.user("grace").await["deactivated"], false);
}

#[tokio::test]
async fn w13_a_payload_gives_no_role_the_policy_forbids_and_demotes_nobody_by_accident() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000;
    for (step, (roles, expected)) in [
        (json!(["admin", "owner", "supervisor"]), json!(["supervisor"])),
        (json!(null), json!(["supervisor"])),
        // This event names only a role that the policy forbids. So the person loses the role from the first event, and
        // gets the default role (case R62).
        (json!(["admin"]), json!(["agent"])),
        (json!("agent"), json!(["agent"])),
        (json!({ "admin": true }), json!(["agent"])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = clerk("user.updated", "ada", at + i64::try_from(step).unwrap());
        event["data"]["public_metadata"]["roles"] = roles.clone();
        hooks.standard(&format!("msg_{step}"), &event).await;
        hooks.settle().await;
        assert_eq!(hooks.user("ada").await["roles"], expected, "{roles}");
    }
}

#[tokio::test]
async fn w15_while_twilio_is_down_events_are_accepted_and_applied_later() {
    let hooks = Hooks::start().await;
    hooks.world.fault(&json!({ "service": "flex-api", "kind": "reset", "times": 0 })).await;
    hooks.world.forget_calls().await;
    for number in 0..21 {
        let who = format!("user{number}");
        assert_eq!(hooks.standard(&who, &clerk("user.created", &who, hooks.now() * 1000)).await.status, 202);
    }
    assert_eq!(hooks.world.calls("flex-api").await, [""; 0], "a delivery does not wait for Twilio");
    hooks.settle().await;
    assert_eq!(hooks.inbox().count(EventStatus::Applied).await.unwrap(), 0);
    assert_eq!(hooks.inbox().count(EventStatus::Dead).await.unwrap(), 0);
    hooks.world.control("reset", &json!({})).await;
    // The pauses between attempts last at most five minutes. So after six minutes, every event is due again. If the
    // consumer that `settle` stopped still held a lease, this lease has expired too.
    hooks.world.clock.advance(Duration::minutes(6));
    hooks.settle().await;
    assert_eq!(hooks.inbox().count(EventStatus::Applied).await.unwrap(), 21);
    assert_ne!(hooks.user("user20").await, Value::Null);
}

#[tokio::test]
async fn what_twilio_refuses_is_a_dead_letter_and_can_be_tried_again() {
    let hooks = Hooks::start().await;
    let refusal = json!({ "service": "flex-api", "path_contains": "Provision", "kind": "status", "status": 400,
                          "body": { "code": 45004, "message": "no", "status": 400 }, "times": 1 });
    hooks.world.fault(&refusal).await;
    hooks.standard("msg_1", &clerk("user.created", "ada", hooks.now() * 1000)).await;
    hooks.settle().await;
    let dead = hooks.dead().await;
    assert_eq!((dead.len(), dead[0].event_id.as_str()), (1, "msg_1"));
    assert!(dead[0].reason.contains("status 400, code 45004"), "{}", dead[0].reason);
    let found = hooks.platform.dead_letters().find(&dead[0].key).await.unwrap();
    assert_eq!(found.as_ref(), Some(&dead[0]));
    assert!(hooks.platform.dead_letters().revive(&dead[0].key, hooks.world.clock_rng().now()).await.unwrap());
    hooks.settle().await;
    assert_eq!((hooks.dead().await.len(), &hooks.user("ada").await["username"]), (0, &json!("ada")));
}

#[tokio::test]
async fn deactivation_ends_sessions_and_bindings_even_where_flex_has_done_it_already() {
    let hooks = Hooks::with(&json!({ "standard": { "issuer": "https://clerk.example.com" } })).await;
    let (at, now) = (hooks.now() * 1000, hooks.world.clock_rng().now());
    hooks.standard("msg_1", &clerk("user.created", "ada", at)).await;
    hooks.settle().await;
    let identity = Identity { issuer: "https://clerk.example.com".into(), subject: "user_ada".into() };
    let bound = hooks.platform.bindings().user_of(&identity).await.unwrap().unwrap();
    assert_eq!(bound.as_str(), hooks.user("ada").await["flex_user_sid"]);
    let session = Session {
        key: SessionKey::of("secret"),
        profile: "default".parse::<ProfileName>().unwrap(),
        flex_user_sid: bound.clone(),
        sealed: "sealed".into(),
        version: 0,
        created_at: now,
        used_at: now,
        ends_at: now + Duration::hours(1),
        seat: None,
        origin: SessionOrigin::default(),
    };
    hooks.platform.sessions().insert(session.clone()).await.unwrap();
    hooks.standard("msg_2", &clerk_deleted("ada", at + 1)).await;
    hooks.settle().await;
    assert_eq!(hooks.platform.sessions().get(&session.key).await.unwrap(), None);
    assert_eq!(hooks.platform.bindings().user_of(&identity).await.unwrap(), None);
    assert_eq!(hooks.user("ada").await["deactivated"], true);
}

#[tokio::test]
async fn a_username_given_to_somebody_new_takes_over_no_active_user() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000;
    hooks.standard("msg_1", &clerk("user.created", "ada", at)).await;
    hooks.settle().await;
    let mut impostor = clerk("user.created", "ada", at + 1);
    impostor["data"]["id"] = "user_other".into();
    impostor["data"]["first_name"] = "Eve".into();
    hooks.standard("msg_2", &impostor).await;
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["full_name"], "Ada Lovelace");
    assert!(hooks.dead().await[0].reason.contains("belongs to another subject"));
    // Ada keeps her access when the impostor leaves.
    let mut leaves = clerk("user.updated", "ada", at + 2);
    leaves["data"]["id"] = "user_other".into();
    leaves["data"]["banned"] = true.into();
    hooks.standard("msg_3", &leaves).await;
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["deactivated"], false);
}
