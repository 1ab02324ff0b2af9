//! Tests the event queue in SQLite, and the dead letters in SQLite or DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "common/dynamodb.rs"]
mod dynamodb;

use std::sync::Arc;

use flexgate::domain::{Action, IdentityEvent, PersonProfile, Subject};
use flexgate::store::{
    Backlog, DeadLetter, DeadLetters, EventQueue, EventStatus, Lane, Message, Settled, SqliteStore, Taken,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);
const HELD: Duration = Duration::seconds(30);

/// Two stores that share one file, as if they were in two processes.
struct Two {
    one: SqliteStore,
    other: SqliteStore,
    folder: tempfile::TempDir,
}

fn two() -> Two {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let open = || SqliteStore::open(&path).unwrap();
    Two { one: open(), other: open(), folder }
}

/// The store under test, and a second instance with the same data, as another process would have.
struct Adapter {
    one: Arc<dyn DeadLetters>,
    other: Arc<dyn DeadLetters>,
    _folder: Option<tempfile::TempDir>,
}

/// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
async fn memory() -> Adapter {
    if let Ok(endpoint) = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
        let table = dynamodb::table(&endpoint).await;
        return Adapter { one: Arc::new(table.clone()), other: Arc::new(table), _folder: None };
    }
    let two = two();
    Adapter { one: Arc::new(two.one), other: Arc::new(two.other), _folder: Some(two.folder) }
}

fn event(id: &str, subject: &str) -> IdentityEvent {
    IdentityEvent {
        membership: None,
        directory: None,
        look_up: false,
        id: id.parse().unwrap(),
        source: "standard".parse().unwrap(),
        occurred_at: NOW,
        subject: Subject { id: subject.parse().unwrap(), issuer: None },
        profile: PersonProfile::default(),
        action: Action::Upsert,
    }
}

fn message(id: &str, subject: &str) -> Message {
    Message::Event(event(id, subject))
}

fn ids(taken: &[Taken]) -> Vec<String> {
    let id = |taken: &Taken| serde_json::from_str::<Message>(&taken.body).unwrap().id().into_owned();
    taken.iter().map(id).collect()
}

#[tokio::test]
async fn a_message_comes_out_as_it_went_in_whichever_process_asks() {
    let store = two();
    let sent = message("1", "ada");
    store.one.send(std::slice::from_ref(&sent), NOW).await.unwrap();
    let taken = store.other.inbox().take(Lane::Events, 10, NOW, NOW + HELD).await.unwrap();
    assert_eq!(serde_json::from_str::<Message>(&taken[0].body).unwrap(), sent);
    assert_eq!(taken[0].attempts, 1);
}

#[tokio::test]
async fn a_subjects_next_message_waits_for_the_one_before() {
    let store = two();
    let inbox = store.one.inbox();
    store.one.send(&[message("1", "ada"), message("2", "ada"), message("3", "grace")], NOW).await.unwrap();
    let first = inbox.take(Lane::Events, 10, NOW, NOW + HELD).await.unwrap();
    assert_eq!(ids(&first), ["1", "3"]);
    assert_eq!(ids(&inbox.take(Lane::Events, 10, NOW, NOW + HELD).await.unwrap()), Vec::<String>::new());
    // A message that waits for a retry is still the first message about its subject, so the second message must wait.
    inbox.settle(&first[0], Settled::Later(NOW + Duration::minutes(1)), NOW).await.unwrap();
    assert_eq!(ids(&inbox.take(Lane::Events, 10, NOW + HELD * 1.5, NOW + HELD * 2).await.unwrap()), ["3"]);
    let again = inbox.take(Lane::Events, 10, NOW + Duration::minutes(1), NOW + Duration::minutes(2)).await.unwrap();
    assert_eq!((ids(&again), again[0].attempts), (vec!["1".to_owned(), "3".to_owned()], 2));
    inbox.settle(&again[0], Settled::Applied, NOW).await.unwrap();
    assert_eq!(ids(&inbox.take(Lane::Events, 10, NOW, NOW + HELD).await.unwrap()), ["2"]);
}

#[tokio::test]
async fn a_message_lost_by_its_taker_is_not_the_takers_to_settle() {
    let store = two();
    let (one, other) = (store.one.inbox(), store.other.inbox());
    store.one.send(&[message("1", "ada")], NOW).await.unwrap();
    let lost = one.take(Lane::Events, 1, NOW, NOW + HELD).await.unwrap();
    assert!(other.take(Lane::Events, 1, NOW + HELD - Duration::SECOND, NOW + HELD).await.unwrap().is_empty());
    let taken = other.take(Lane::Events, 1, NOW + HELD, NOW + HELD * 2).await.unwrap();
    one.settle(&lost[0], Settled::Dead("too late".into()), NOW).await.unwrap();
    assert_eq!(one.count(EventStatus::Waiting).await.unwrap(), 1);
    other.settle(&taken[0], Settled::Applied, NOW).await.unwrap();
    assert_eq!(one.count(EventStatus::Applied).await.unwrap(), 1);
}

#[tokio::test]
async fn an_event_is_taken_once_until_it_is_forgotten_and_leaves_no_text_behind() {
    let store = two();
    let inbox = store.one.inbox();
    store.one.send(&[message("1", "ada"), message("1", "ada")], NOW).await.unwrap();
    store.other.send(&[message("1", "ada")], NOW).await.unwrap();
    let taken = inbox.take(Lane::Events, 10, NOW, NOW + HELD).await.unwrap();
    assert_eq!(taken.len(), 1);
    inbox.settle(&taken[0], Settled::Applied, NOW).await.unwrap();
    store.other.send(&[message("1", "ada")], NOW).await.unwrap();
    assert_eq!(inbox.count(EventStatus::Waiting).await.unwrap(), 0);
    assert_eq!(inbox.sweep(NOW + Duration::days(7)).await.unwrap(), 0);
    assert_eq!(inbox.sweep(NOW + Duration::days(8)).await.unwrap(), 1);
    store.one.send(&[message("1", "ada")], NOW).await.unwrap();
    assert_eq!(inbox.count(EventStatus::Waiting).await.unwrap(), 1);
}

#[tokio::test]
async fn a_dead_letter_lets_the_next_pass_and_can_be_revived() {
    let store = two();
    let inbox = store.one.inbox();
    store.one.send(&[message("1", "ada"), message("2", "ada")], NOW).await.unwrap();
    let taken = inbox.take(Lane::Events, 1, NOW, NOW + HELD).await.unwrap();
    inbox.settle(&taken[0], Settled::Dead("no role".into()), NOW).await.unwrap();
    let letters = store.other.list(10).await.unwrap();
    let [letter] = letters.as_slice() else { unreachable!("{letters:?}") };
    assert_eq!((letter.event_id.as_str(), letter.reason.as_str(), letter.attempts), ("1", "no role", 1));
    assert_eq!((letter.since, &letter.key), (NOW, &message("1", "ada").key()));
    assert_eq!(ids(&inbox.take(Lane::Events, 1, NOW, NOW + HELD).await.unwrap()), ["2"]);
    assert!(store.other.revive(&letter.key, NOW).await.unwrap());
    assert!(!store.other.revive(&letter.key, NOW).await.unwrap());
    assert_eq!(store.one.find(&letter.key).await.unwrap(), None);
    assert_eq!(ids(&inbox.take(Lane::Events, 1, NOW, NOW + HELD).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn the_backlog_is_what_waits_and_since_when_the_oldest_does() {
    let store = two();
    let inbox = store.one.inbox();
    assert_eq!(store.one.backlog(Lane::Events).await.unwrap(), Backlog::default());
    store.one.send(&[message("1", "ada")], NOW).await.unwrap();
    store.one.send(&[message("2", "grace")], NOW + Duration::minutes(5)).await.unwrap();
    let both = Backlog { waiting: 2, oldest: Some(NOW) };
    assert_eq!(store.other.backlog(Lane::Events).await.unwrap(), both);

    // A lease or a retry does not change the arrival time of a message.
    let taken = inbox.take(Lane::Events, 1, NOW + Duration::minutes(6), NOW + Duration::minutes(7)).await.unwrap();
    assert_eq!(store.one.backlog(Lane::Events).await.unwrap(), both);
    inbox.settle(&taken[0], Settled::Later(NOW + Duration::hours(1)), NOW).await.unwrap();
    assert_eq!(store.one.backlog(Lane::Events).await.unwrap(), both);

    let taken = inbox.take(Lane::Events, 9, NOW + Duration::hours(1), NOW + Duration::hours(2)).await.unwrap();
    inbox.settle(&taken[0], Settled::Dead("no".into()), NOW).await.unwrap();
    inbox.settle(&taken[1], Settled::Applied, NOW).await.unwrap();
    assert_eq!(store.one.backlog(Lane::Events).await.unwrap(), Backlog::default());
    let key = store.one.list(1).await.unwrap()[0].key.clone();
    let later = NOW + Duration::days(1);
    assert!(store.one.revive(&key, later).await.unwrap());
    assert_eq!(store.one.backlog(Lane::Events).await.unwrap(), Backlog { waiting: 1, oldest: Some(later) });
}

#[tokio::test]
async fn a_store_of_before_events_had_a_time_of_arrival_is_read() {
    let store = two();
    store.one.send(&[message("1", "ada")], NOW).await.unwrap();
    let path = store.folder.path().join("flexgate.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("ALTER TABLE events DROP COLUMN arrived_at").unwrap();
    let opened = SqliteStore::open(&path).unwrap();
    assert_eq!(opened.backlog(Lane::Events).await.unwrap(), Backlog { waiting: 1, oldest: Some(NOW) });
}

#[tokio::test]
async fn a_letter_buried_by_hand_is_kept_once() {
    let store = memory().await;
    for (body, id) in [(serde_json::to_string(&message("1", "ada")).unwrap(), "1"), ("{".to_owned(), "")] {
        for reason in ["first", "second"] {
            store.one.bury(DeadLetter::of(&body, 3, reason, NOW)).await.unwrap();
        }
        let letter = store.other.find(&DeadLetter::of(&body, 0, "", NOW).key).await.unwrap().unwrap();
        assert_eq!((letter.event_id.as_str(), letter.reason.as_str(), letter.body), (id, "second", body));
    }
    assert_eq!(store.one.list(10).await.unwrap().len(), 2);
    assert_eq!(store.one.list(1).await.unwrap().len(), 1);
}
