//! Tests the two lanes of the queue: an event must never wait behind bulk jobs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use flexgate::domain::{Action, FlexUserSid, IdentityEvent, PersonProfile, Subject};
use flexgate::store::{
    Backlog, DeadLetter, DeadLetters as _, EventQueue as _, EventStatus, Lane, Message, Settled, SqliteStore, Taken,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);
const HELD: Duration = Duration::seconds(30);

struct Opened {
    store: SqliteStore,
    folder: tempfile::TempDir,
}

fn open() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    Opened { store: SqliteStore::open(&folder.path().join("flexgate.db")).unwrap(), folder }
}

fn event(id: &str) -> Message {
    Message::Event(IdentityEvent {
        membership: None,
        directory: None,
        look_up: false,
        id: id.parse().unwrap(),
        source: "standard".parse().unwrap(),
        occurred_at: NOW,
        subject: Subject { id: id.parse().unwrap(), issuer: None },
        profile: PersonProfile::default(),
        action: Action::Deactivate,
    })
}

fn user(number: u32) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

fn reconcile(number: u32, cause: &str) -> Message {
    Message::Reconcile { user: user(number), cause: cause.into(), left: None }
}

fn ids(taken: &[Taken]) -> Vec<String> {
    let id = |taken: &Taken| serde_json::from_str::<Message>(&taken.body).unwrap().id().into_owned();
    taken.iter().map(id).collect()
}

#[tokio::test]
async fn an_event_sent_after_a_thousand_jobs_is_taken_next() {
    let opened = open();
    let (store, inbox) = (&opened.store, opened.store.inbox());
    let jobs: Vec<_> = (0..1_000).map(|number| reconcile(number, "scim-group:fggrp_1@7")).collect();
    store.send(&jobs, NOW).await.unwrap();
    store.send(&[event("leaver")], NOW + Duration::MINUTE).await.unwrap();
    let now = NOW + Duration::MINUTE;
    assert_eq!(ids(&inbox.take(Lane::Events, 8, now, now + HELD).await.unwrap()), ["leaver"]);
    assert_eq!(inbox.take(Lane::Bulk, 6, now, now + HELD).await.unwrap().len(), 6);
    assert_eq!(store.backlog(Lane::Events).await.unwrap(), Backlog { waiting: 1, oldest: Some(now) });
    assert_eq!(store.backlog(Lane::Bulk).await.unwrap(), Backlog { waiting: 1_000, oldest: Some(NOW) });
    assert_eq!(inbox.count(EventStatus::Waiting).await.unwrap(), 1_001, "both lanes");
}

#[tokio::test]
async fn one_send_puts_each_message_into_its_lane() {
    let opened = open();
    let inbox = opened.store.inbox();
    let fan_out = Message::FanOut { group: "fggrp_1".into(), version: 7, part: 0, members: Vec::new() };
    opened.store.send(&[event("a"), fan_out.clone(), reconcile(1, "x")], NOW).await.unwrap();
    assert_eq!(ids(&inbox.take(Lane::Events, 9, NOW, NOW + HELD).await.unwrap()), ["a"]);
    let bulk = inbox.take(Lane::Bulk, 9, NOW, NOW + HELD).await.unwrap();
    assert_eq!(ids(&bulk), [fan_out.id().into_owned(), format!("reconcile:{}:x", user(1))]);
}

#[tokio::test]
async fn of_two_jobs_for_a_user_the_second_waits_and_the_same_one_is_taken_once() {
    let opened = open();
    let inbox = opened.store.inbox();
    let jobs = [reconcile(1, "scim-group:fggrp_1@7"), reconcile(1, "scim-group:fggrp_1@8"), reconcile(2, "sweep:x")];
    opened.store.send(&jobs, NOW).await.unwrap();
    opened.store.send(&jobs, NOW).await.unwrap();
    let taken = inbox.take(Lane::Bulk, 9, NOW, NOW + HELD).await.unwrap();
    assert_eq!(ids(&taken), [jobs[0].id(), jobs[2].id()]);
    inbox.settle(&taken[0], Settled::Applied, NOW).await.unwrap();
    opened.store.send(&jobs, NOW).await.unwrap();
    assert_eq!(ids(&inbox.take(Lane::Bulk, 9, NOW, NOW + HELD).await.unwrap()), [jobs[1].id()]);
}

#[tokio::test]
async fn a_job_that_was_given_up_goes_back_into_the_lane_it_came_from() {
    let opened = open();
    let (store, inbox) = (&opened.store, opened.store.inbox());
    let buried = reconcile(2, "sweep:x");
    store.send(&[reconcile(1, "sweep:x")], NOW).await.unwrap();
    let taken = inbox.take(Lane::Bulk, 9, NOW, NOW + HELD).await.unwrap();
    inbox.settle(&taken[0], Settled::Dead("the last administrator".into()), NOW).await.unwrap();
    let body = serde_json::to_string(&buried).unwrap();
    store.bury(DeadLetter::of(&body, 50, "no", NOW)).await.unwrap();
    let letters = store.list(9).await.unwrap();
    assert!(letters.iter().all(|letter| letter.source == "flexgate"), "{letters:?}");
    assert_eq!(letters[1].event_id, buried.id());
    for letter in &letters {
        assert!(store.revive(&letter.key, NOW).await.unwrap());
    }
    assert!(inbox.take(Lane::Events, 9, NOW, NOW + HELD).await.unwrap().is_empty());
    assert_eq!(inbox.take(Lane::Bulk, 9, NOW, NOW + HELD).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_of_before_there_were_lanes_is_read_and_holds_events() {
    let opened = open();
    opened.store.send(&[event("a")], NOW).await.unwrap();
    let path = opened.folder.path().join("flexgate.db");
    drop(opened.store);
    let before = "DROP INDEX events_by_lane; ALTER TABLE events DROP COLUMN lane;";
    rusqlite::Connection::open(&path).unwrap().execute_batch(before).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    store.send(&[reconcile(1, "x")], NOW).await.unwrap();
    assert_eq!(ids(&store.inbox().take(Lane::Events, 9, NOW, NOW + HELD).await.unwrap()), ["a"]);
    assert_eq!(store.backlog(Lane::Bulk).await.unwrap().waiting, 1);
}
