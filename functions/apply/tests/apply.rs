//! Tests the handling of one message and of a batch.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use flexgate::base::outbound::Deadline;
use flexgate::platform::Platform;
use flexgate::store::{EventStatus, Lane};
use flexgate_apply::{App, Handled, Settings, batch};
use flexgate_test_support::{Log, World};
use serde_json::{Value, json};

/// The apply function in a test world.
struct Apply {
    world: World,
    platform: Platform,
    app: Arc<App>,
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// Returns a message that makes `who` a Flex user.
fn begins(id: &str, who: &str) -> String {
    json!({
        "kind": "event", "id": id, "source": "hr", "occurred_at": "2026-01-01T10:00:00Z", "subject": { "id": who },
        "action": "upsert",
        "profile": { "username": who, "email": format!("{who}@example.com"), "full_name": "Ada Lovelace" },
    })
    .to_string()
}

impl Apply {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let world = World::on_one_clock().await;
        let mut reader = world.reader().with(variables.iter().copied());
        let settings = Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let platform = world.platform(&settings.common);
        let app = App::new(&settings, &platform);
        Self { world, platform, app }
    }

    /// Handles a message for the `attempt`th time.
    async fn handle(&self, body: &str, attempt: u32) -> Handled {
        self.app.handle(body, attempt, soon()).await
    }

    /// Handles a batch of messages, each with id, group and body. Returns the ids of the messages that SQS must deliver
    /// again.
    async fn batch(&self, messages: &[(&str, &str, String)], deadline: Deadline) -> Vec<String> {
        self.batch_again(1, messages, deadline).await
    }

    /// Like [`Apply::batch`], but for messages that SQS has delivered `received` times.
    async fn batch_again(&self, received: u32, messages: &[(&str, &str, String)], deadline: Deadline) -> Vec<String> {
        let record = |(id, group, body): &(&str, &str, String)| {
            let mut message = SqsMessage::default();
            message.message_id = Some((*id).to_owned());
            message.body = Some(body.clone());
            message.attributes.insert("MessageGroupId".to_owned(), (*group).to_owned());
            message.attributes.insert("ApproximateReceiveCount".to_owned(), received.to_string());
            message
        };
        let mut event = SqsEvent::default();
        event.records = messages.iter().map(record).collect();
        let failures = batch::handle(&self.app, event, deadline).await.batch_item_failures;
        failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    async fn dead_letters(&self) -> u64 {
        self.platform.inbox().unwrap().count(EventStatus::Dead).await.unwrap()
    }
}

#[tokio::test]
async fn an_event_is_applied_and_a_second_delivery_asks_twilio_for_nothing() {
    let apply = Apply::start().await;
    let log = Log::start();
    assert_eq!(apply.handle(&begins("1", "ada"), 1).await, Handled::Done);
    let ada = apply.world.twilio_user("ada").await.unwrap();
    assert_eq!((&ada["roles"], &ada["email"]), (&json!(["agent"]), &json!("ada@example.com")));
    apply.world.forget_calls().await;
    assert_eq!(apply.handle(&begins("1", "ada"), 2).await, Handled::Done);
    assert_eq!(apply.world.calls("flex-api").await, [""; 0]);
    assert_eq!(log.audit(), ["apply_event allowed created"], "what changed nothing is not audited");
    assert!(!log.text().contains("@example.com"));
}

#[tokio::test]
async fn a_group_that_came_before_goes_last() {
    let apply = Apply::start().await;
    let log = Log::start();
    let record = |id: &str, who: &str, received: &str| {
        let mut message = SqsMessage::default();
        message.message_id = Some(id.to_owned());
        message.body = Some(begins(id, who));
        message.attributes.insert("MessageGroupId".to_owned(), who.to_owned());
        message.attributes.insert("ApproximateReceiveCount".to_owned(), received.to_owned());
        message
    };
    let mut event = SqsEvent::default();
    event.records = vec![record("e-1", "ada", "2"), record("e-2", "ada", "1"), record("e-3", "ben", "1")];
    assert_eq!(batch::handle(&apply.app, event, soon()).await.batch_item_failures.len(), 0);
    let text = log.text();
    let applied: Vec<_> = text.lines().filter(|line| line.contains("\"outcome\"")).collect();
    let order = ["e-3", "e-1", "e-2"].map(|id| applied.iter().position(|line| line.contains(id)).unwrap());
    assert!(order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn what_is_no_message_is_dead_at_once() {
    let apply = Apply::start().await;
    let log = Log::start();
    for body in ["", "ada@example.com", "[]", r#"{"kind": "event", "id": "1"}"#] {
        assert!(matches!(apply.handle(body, 1).await, Handled::Dead(_)), "{body}");
    }
    assert_eq!(log.audit().len(), 4);
    assert!(!log.text().contains("@example.com"));
    assert_eq!(apply.world.calls("flex-api").await, [""; 0]);
}

#[tokio::test]
async fn a_message_of_a_newer_version_waits_for_that_version() {
    let apply = Apply::with(&[("FLEXGATE_APPLY_TRIES", "3")]).await;
    let body = r#"{"kind": "of_tomorrow", "id": "1"}"#;
    assert_eq!(apply.handle(body, 1).await, Handled::Again);
    assert_eq!(apply.handle(body, 2).await, Handled::Again);
    assert!(matches!(apply.handle(body, 3).await, Handled::Dead(_)));
}

#[tokio::test]
async fn what_may_pass_is_tried_until_the_tries_are_used_up() {
    let apply = Apply::with(&[("FLEXGATE_APPLY_TRIES", "3")]).await;
    apply.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": "always" })).await;
    let log = Log::start();
    for attempt in 1..=2 {
        assert_eq!(apply.handle(&begins("1", "ada"), attempt).await, Handled::Again);
    }
    let Handled::Dead(reason) = apply.handle(&begins("1", "ada"), 3).await else { panic!("it is not dead") };
    assert!(!reason.is_empty() && !reason.contains("ada"), "{reason}");
    assert_eq!(log.audit().len(), 1, "{:?}", log.audit());
    // The failed attempts stored the statement in the ledger. A further attempt updates the Flex user.
    apply.world.no_faults().await;
    assert_eq!(apply.handle(&begins("1", "ada"), 1).await, Handled::Done);
    assert!(apply.world.twilio_user("ada").await.is_some());
}

#[tokio::test]
async fn what_cannot_pass_is_dead_at_once() {
    let apply = Apply::start().await;
    apply.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 400, "times": "always" })).await;
    assert!(matches!(apply.handle(&begins("1", "ada"), 1).await, Handled::Dead(_)));
}

#[tokio::test]
async fn a_job_for_somebody_unknown_is_done_and_a_large_one_queues_each_member_once() {
    let apply = Apply::start().await;
    let unknown = format!("FU{}", "7".repeat(32));
    let job = json!({ "kind": "reconcile", "user": unknown, "cause": "sweep:2026-01-01T10:00:00Z" });
    assert_eq!(apply.handle(&job.to_string(), 1).await, Handled::Done);

    let members: Vec<Value> = (0..30).map(|number| json!({ "user": format!("FU{number:032}") })).collect();
    let fan_out = json!({ "kind": "fan_out", "group": "fggrp_1", "version": 7, "part": 0, "members": members });
    for attempt in 1..=2 {
        assert_eq!(apply.handle(&fan_out.to_string(), attempt).await, Handled::Done);
    }
    let inbox = apply.platform.inbox().unwrap();
    let now = apply.world.clock_rng().now();
    let jobs = inbox.take(Lane::Bulk, 100, now, now + Duration::from_secs(30)).await.unwrap();
    assert_eq!(jobs.len(), 30);
}

#[tokio::test]
async fn what_fails_holds_back_its_own_group_alone() {
    let apply = Apply::start().await;
    assert_eq!(apply.handle(&begins("0", "ada"), 1).await, Handled::Done);
    apply.world.fault(&of_ada(&apply.world, "status").await).await;
    let messages = [
        ("a", "ada", leaves("1")),
        ("b", "ada", leaves("2")),
        ("c", "grace", begins("3", "grace")),
        ("d", "poison", "poison".to_owned()),
    ];
    assert_eq!(apply.batch(&messages, soon()).await, ["a", "b"]);
    assert_eq!(apply.dead_letters().await, 1);
    assert!(apply.world.twilio_user("grace").await.is_some());
    assert_eq!(apply.world.twilio_user("ada").await.unwrap()["deactivated"], false);
    apply.world.no_faults().await;
    assert_eq!(apply.batch(&messages[..2], soon()).await, [""; 0]);
    assert_eq!(apply.world.twilio_user("ada").await.unwrap()["deactivated"], true);
}

#[tokio::test]
async fn the_groups_of_a_batch_do_not_wait_for_each_other() {
    let apply = Apply::start().await;
    assert_eq!(apply.handle(&begins("0", "ada"), 1).await, Handled::Done);
    apply.world.fault(&of_ada(&apply.world, "delay").await).await;
    let messages = [("a", "ada", leaves("1")), ("b", "ben", begins("2", "ben")), ("c", "eve", begins("3", "eve"))];
    let log = Log::start();
    let others_are_done = async {
        while apply.world.twilio_user("eve").await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        left = apply.batch(&messages, soon()) => panic!("the batch is over: {left:?}"),
        () = others_are_done => {}
    }
    assert!(apply.world.twilio_user("ben").await.is_some());
    assert!(!log.text().contains("not applied"), "the try for ada goes on");
}

/// A fault that affects every request about ada's Flex user.
async fn of_ada(world: &World, kind: &str) -> Value {
    let sid = world.twilio_user("ada").await.unwrap()["flex_user_sid"].clone();
    json!({
        "service": "flex-api", "path_contains": sid, "times": "always",
        "kind": kind, "status": 503, "delay_ms": if kind == "delay" { 15_000 } else { 0 },
    })
}

/// Returns a message that deactivates ada.
fn leaves(id: &str) -> String {
    begins(id, "ada").replace("upsert", "deactivate").replace("10:00", "11:00")
}

#[tokio::test]
async fn what_there_is_no_time_for_comes_again_untried() {
    let apply = Apply::start().await;
    let messages = [("a", "ada", begins("1", "ada")), ("b", "grace", begins("2", "grace"))];
    let late = Deadline::after(Duration::from_millis(500));
    assert_eq!(apply.batch(&messages, late).await, ["a", "b"]);
    assert_eq!(apply.world.calls("flex-api").await, [""; 0]);
}

#[tokio::test]
async fn deliveries_without_a_try_make_no_dead_letter() {
    let apply = Apply::with(&[("FLEXGATE_APPLY_TRIES", "2")]).await;
    apply.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": "always" })).await;
    let ada = [("a", "ada", begins("1", "ada"))];
    assert_eq!(apply.batch_again(40, &ada, soon()).await, ["a"], "the first try");
    assert_eq!(apply.batch_again(41, &ada, Deadline::after(Duration::ZERO)).await, ["a"], "no try");
    assert_eq!(apply.dead_letters().await, 0);
    assert_eq!(apply.batch_again(42, &ada, soon()).await, [""; 0], "the second try");
    assert_eq!(apply.dead_letters().await, 1);
}

#[tokio::test]
async fn a_store_that_cannot_count_makes_no_dead_letter() {
    let apply = Apply::with(&[("FLEXGATE_APPLY_TRIES", "2")]).await;
    apply.world.sql("CREATE TRIGGER broken BEFORE INSERT ON counters BEGIN SELECT RAISE(ABORT, 'broken'); END;");
    apply.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": "always" })).await;
    let ada = [("a", "ada", begins("1", "ada"))];
    for received in 1..=4 {
        assert_eq!(apply.batch_again(received, &ada, soon()).await, ["a"]);
    }
    assert_eq!(apply.dead_letters().await, 0);
    apply.world.no_faults().await;
    assert_eq!(apply.batch_again(5, &ada, soon()).await, [""; 0]);
    assert!(apply.world.twilio_user("ada").await.is_some());
}

#[tokio::test]
async fn a_message_whose_tries_all_ended_the_process_is_dead_without_another_try() {
    let apply = Apply::with(&[("FLEXGATE_APPLY_TRIES", "3")]).await;
    let log = Log::start();
    assert!(matches!(apply.handle(&begins("1", "ada"), 4).await, Handled::Dead(_)));
    assert_eq!(apply.world.calls("flex-api").await, [""; 0]);
    assert_eq!(log.audit().len(), 1, "{:?}", log.audit());
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_kept_is_not_lost() {
    let apply = Apply::start().await;
    apply.world.sql("CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'broken'); END;");
    let poison = [("a", "x", "poison".to_owned())];
    assert_eq!(apply.batch(&poison, soon()).await, ["a"], "SQS keeps it");
    apply.world.sql("DROP TRIGGER broken;");
    assert_eq!(apply.batch(&poison, soon()).await, [""; 0]);
    assert_eq!(apply.dead_letters().await, 1);
}
