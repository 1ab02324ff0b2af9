//! Tests `flexgate events`, and how the binary handles webhooks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::{Command, Output};
use std::time::Duration;

use flexgate::store::{
    DeadLetter, DeadLetters as _, EventQueue as _, EventStatus, Message, Note, Noted, Notes as _, SqliteStore,
};
use flexgate_test_support::{Process, World, free_port};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");

fn message(id: &str) -> String {
    json!({ "kind": "event", "id": id, "source": "hr", "occurred_at": "2026-01-01T10:00:00Z", "subject": { "id": id },
            "action": "upsert", "profile": { "username": "ada", "email": "ada@example.com" } })
    .to_string()
}

fn events(world: &World, arguments: &[&str]) -> Output {
    let trail = world.folder().join("audit.jsonl");
    let mut command = Command::new(BINARY);
    command.arg("events").args(arguments).envs(world.variables()).env("FLEXGATE_AUDIT_FILE", trail);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_retried_by_a_gateway() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let now = world.clock_rng().now();
    for id in ["one", "two"] {
        store.bury(DeadLetter::of(&message(id), 50, "Twilio is failing (status 503)", now)).await.unwrap();
    }
    store.bury(DeadLetter::of("no JSON \u{1b}[2J", 1, "none of Flexgate's", now)).await.unwrap();

    let listed = said(&events(&world, &["list"]));
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!((lines.len(), lines[3]), (4, "3 could not be applied, 0 wait in the queue"), "{listed}");
    let key = lines[0].split_whitespace().next().unwrap();
    for word in [" hr ", " one ", " 50 ", "Twilio is failing (status 503)"] {
        assert!(lines[0].contains(word), "{word} in {listed}");
    }
    assert!(!listed.contains("ada@example.com"), "a list holds nothing personal");

    let shown: Value = serde_json::from_str(&said(&events(&world, &["show", key]))).unwrap();
    assert_eq!((&shown["message"]["profile"]["email"], &shown["attempts"]), (&json!("ada@example.com"), &json!(50)));
    let unreadable = lines[2].split_whitespace().next().unwrap();
    assert!(!said(&events(&world, &["show", unreadable])).contains('\u{1b}'));

    assert_eq!(events(&world, &["retry", "nothing"]).status.code(), Some(1));
    for action in ["show", "retry"] {
        assert_eq!(events(&world, &[action, "-F_in_a_key"]).status.code(), Some(1), "a key may begin like an option");
    }
    assert_eq!(events(&world, &["retry"]).status.code(), Some(2));
    assert_eq!(said(&events(&world, &["retry", key])).trim(), "1 back in the queue");
    assert_eq!(said(&events(&world, &["retry", "--all"])).trim(), "2 back in the queue");

    // The gateway retries the events. It can apply some of them, and the others become dead letters again.
    let mut gateway = Process::live(BINARY, &world);
    let inbox = store.inbox();
    for _ in 0..600 {
        if inbox.count(EventStatus::Waiting).await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(inbox.count(EventStatus::Applied).await.unwrap(), 1, "two people of one username: one wins");
    let reasons: Vec<_> = store.list(9).await.unwrap().into_iter().map(|letter| letter.reason).collect();
    assert!(reasons.iter().any(|reason| reason.contains("belongs to another subject")), "{reasons:?}");
    gateway.terminate();
    let ended = tokio::task::spawn_blocking(move || gateway.ended(Duration::from_secs(20))).await.unwrap();
    assert!(ended.success(), "the consumer stops with the gateway");
}

#[tokio::test]
async fn an_event_queued_by_another_process_is_found() {
    let world = World::start().await;
    let _gateway = Process::live(BINARY, &world);
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let message: Message = serde_json::from_str(&message("one")).unwrap();
    store.send(&[message], world.clock_rng().now()).await.unwrap();
    let inbox = store.inbox();
    for _ in 0..1_200 {
        if inbox.count(EventStatus::Applied).await.unwrap() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("it was not applied");
}

#[tokio::test]
async fn w16_the_gateway_does_not_start_with_a_default_secret() {
    let world = World::start().await;
    world.write_secret("webhook-secrets", &json!({ "okta": "changeme" }));
    let output = Command::new(BINARY)
        .args(["serve", "--live", "--port", &free_port().to_string()])
        .envs(world.variables())
        .envs([("FLEXGATE_WEBHOOKS", r#"{"okta":{}}"#), ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("WEBHOOK_SECRETS_SECRET_ID") && said.contains("okta"), "{said}");
}

#[test]
fn where_there_is_no_store_it_says_so() {
    let output = Command::new(BINARY).args(["events", "list", "--store", "/nowhere/at/all.db"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn r67_what_was_refused_or_ignored_is_listed() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let now = world.clock_rng().now();
    let note = Note {
        noted: Noted::Refused,
        source: "scim:okta".into(),
        route: "POST /scim/v2/Users".into(),
        code: "scim_uniqueness".into(),
        reason: "Another user has this userName.\u{1b}[2J".into(),
        external_id: Some("00u1".into()),
        times: 3,
        at: now,
    };
    store.note(&note).await.unwrap();
    let ignored =
        Note { noted: Noted::Ignored, source: "workos".into(), route: "session.revoked".into(), ..note.clone() };
    store.note(&ignored).await.unwrap();
    store.note(&Note { source: "old".into(), at: now - time::Duration::days(8), ..note }).await.unwrap();

    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(BINARY);
        said(&command.args(arguments).envs(world.variables()).output().unwrap())
    };
    let refused = run(&["activity", "--refused"]);
    for word in
        ["   3  scim:okta  POST /scim/v2/Users  scim_uniqueness  00u1  Another user has this userName.", "1 different"]
    {
        assert!(refused.contains(word), "{word} in {refused}");
    }
    assert!(!refused.contains("workos") && !refused.contains('\u{1b}') && !refused.contains("old"), "{refused}");
    let ignored = run(&["events", "ignored"]);
    assert!(ignored.contains("workos  session.revoked") && !ignored.contains("okta"), "{ignored}");
    let all: Value = serde_json::from_str(&run(&["activity", "--json"])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
}
