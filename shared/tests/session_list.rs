//! Tests the list of sessions, the record of each person's newest sign-in, how sessions end, and the switch with which
//! operators stop all sign-ins, in SQLite and in DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "common/dynamodb.rs"]
mod dynamodb;

use std::collections::BTreeSet;
use std::sync::Arc;

use flexgate::domain::FlexUserSid;
use flexgate::domain::{Identity, Username};
use flexgate::store::{
    EndedUntil, EndingKey, Seats, Session, SessionEndings, SessionKey, SessionList, SessionOrigin, Sessions,
    SignInState, SignInSwitch, SqliteStore,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

trait Store: Sessions + SessionList + Seats + SessionEndings + SignInSwitch {}
impl<S: Sessions + SessionList + Seats + SessionEndings + SignInSwitch> Store for S {}

/// The store under test, and a second instance with the same data, as another process would have.
struct Adapter {
    one: Arc<dyn Store>,
    other: Arc<dyn Store>,
    _folder: Option<tempfile::TempDir>,
}

/// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
async fn store() -> Adapter {
    if let Ok(endpoint) = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
        let table = dynamodb::table(&endpoint).await;
        return Adapter { one: Arc::new(table.clone()), other: Arc::new(table), _folder: None };
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let open = || Arc::new(SqliteStore::open(&path).unwrap());
    Adapter { one: open(), other: open(), _folder: Some(folder) }
}

fn user(number: u8) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

fn session(id: &str, of: u8) -> Session {
    Session {
        key: SessionKey::of(id),
        profile: "default".parse().unwrap(),
        flex_user_sid: user(of),
        sealed: "v1.1.sealed".into(),
        version: 0,
        created_at: NOW,
        used_at: NOW,
        ends_at: NOW + Duration::hours(12),
        seat: None,
        origin: SessionOrigin {
            username: Some("ada".into()),
            network: Some("203.0.113.0/24".into()),
            browser: Some("Firefox".into()),
            idle: Some(Duration::hours(2)),
        },
    }
}

async fn keys(store: &dyn Store, now: OffsetDateTime) -> BTreeSet<SessionKey> {
    let (mut keys, mut after, mut pages) = (BTreeSet::new(), None, 0);
    loop {
        let page = store.page(after.as_ref(), now).await.unwrap();
        for session in page.sessions {
            assert!(keys.insert(session.key), "no session is listed twice");
        }
        pages += 1;
        assert!(pages < 20, "the list ends");
        after = page.next;
        if after.is_none() {
            return keys;
        }
    }
}

fn named(ids: &[&str]) -> BTreeSet<SessionKey> {
    ids.iter().map(|id| SessionKey::of(id)).collect()
}

#[tokio::test]
async fn a_session_is_kept_and_listed_with_its_origin_and_its_last_use() {
    let store = store().await;
    let seat = Some(SessionKey::of("earlier"));
    let ada = Session { seat, ..session("ada", 1) };
    store.one.insert(ada.clone()).await.unwrap();
    assert_eq!(store.other.get(&ada.key).await.unwrap(), Some(ada.clone()));
    let used = NOW + Duration::minutes(7);
    store.one.touch(&ada, used).await.unwrap();
    let found = store.other.find(&ada.key, used).await.unwrap().unwrap();
    assert_eq!((&found.key, &found.profile, &found.flex_user_sid), (&ada.key, &ada.profile, &ada.flex_user_sid));
    assert_eq!((found.created_at, found.used_at, found.ends_at), (NOW, used, ada.ends_at));
    assert_eq!(found.origin, ada.origin);
    assert_eq!(store.one.of_user(&user(1), used).await.unwrap(), std::slice::from_ref(&found));
    assert_eq!(store.one.page(None, used).await.unwrap().sessions, [found]);
    assert_eq!(store.one.find(&SessionKey::of("nobody"), used).await.unwrap(), None);
    assert_eq!(store.one.of_user(&user(2), used).await.unwrap(), []);
}

#[tokio::test]
async fn a_session_that_has_ended_is_not_listed() {
    let store = store().await;
    for (id, of) in [("a", 1), ("b", 1), ("c", 2)] {
        store.one.insert(session(id, of)).await.unwrap();
    }
    let short = Session { ends_at: NOW + Duration::minutes(5), ..session("d", 3) };
    store.one.insert(short).await.unwrap();
    assert_eq!(keys(store.other.as_ref(), NOW).await, named(&["a", "b", "c", "d"]));
    assert_eq!(keys(store.other.as_ref(), NOW + Duration::minutes(5)).await, named(&["a", "b", "c"]));
    store.one.end(&SessionKey::of("a")).await.unwrap();
    assert_eq!(keys(store.other.as_ref(), NOW).await, named(&["b", "c", "d"]));
    assert_eq!(store.other.of_user(&user(1), NOW).await.unwrap().len(), 1);
    let idle = NOW + Duration::hours(2);
    store.one.touch(&session("c", 2), NOW + Duration::minutes(1)).await.unwrap();
    assert_eq!(keys(store.other.as_ref(), idle).await, named(&["c"]), "the others were not used for two hours");
    // The idle session `b` is not in the list, but `find` still returns it. A longer idle limit would make the session
    // usable again, so an operator must be able to end it.
    assert!(store.other.find(&SessionKey::of("b"), idle).await.unwrap().is_some());
    assert_eq!(store.other.find(&SessionKey::of("b"), NOW + Duration::days(8)).await.unwrap(), None);
}

#[tokio::test]
async fn pages_show_each_session_once() {
    let store = store().await;
    let ids: Vec<String> = (0..230).map(|number| format!("session {number}")).collect();
    for id in &ids {
        // Spread the sessions over three users. The list is sorted by user, so a page can begin within a user's
        // sessions or between two users.
        store.one.insert(session(id, id.bytes().last().unwrap() % 3)).await.unwrap();
    }
    let all: BTreeSet<SessionKey> = ids.iter().map(|id| SessionKey::of(id)).collect();
    assert_eq!(keys(store.other.as_ref(), NOW).await, all);
    let first = store.one.page(None, NOW).await.unwrap();
    assert!(first.next.is_some() && first.sessions.len() <= 100, "{}", first.sessions.len());
    // A page may begin after a session that has ended since the previous page was read.
    let next = first.next.unwrap();
    store.one.end(&next.key).await.unwrap();
    let rest = store.other.page(Some(&next), NOW).await.unwrap();
    assert!(rest.sessions.iter().all(|session| !first.sessions.iter().any(|earlier| earlier.key == session.key)));
}

#[tokio::test]
async fn the_newest_seat_ends_the_others_of_its_person_and_profile_only_if_it_must_be_the_only_one() {
    let store = store().await;
    let profile = "default".parse().unwrap();
    assert_eq!(store.one.newest(&user(1), &profile).await.unwrap(), None);
    let (old, new, other) = (session("old", 1), session("new", 1), session("other", 2));
    let elsewhere = Session { profile: "partner".parse().unwrap(), ..session("elsewhere", 1) };
    for session in [&old, &new, &other, &elsewhere] {
        store.one.insert(session.clone()).await.unwrap();
    }
    store.one.take(&old, true).await.unwrap();
    store.one.take(&new, false).await.unwrap();
    let newest = store.other.newest(&user(1), &profile).await.unwrap().unwrap();
    assert_eq!((&newest.seat, newest.is_only), (&new.key, false));
    assert!(!newest.displaces(old.seat()));
    assert_eq!(keys(store.other.as_ref(), NOW).await.len(), 4);

    store.one.take(&new, true).await.unwrap();
    let newest = store.other.newest(&user(1), &profile).await.unwrap().unwrap();
    assert!(newest.displaces(old.seat()) && !newest.displaces(new.seat()));
    assert_eq!(keys(store.other.as_ref(), NOW).await, named(&["new", "other", "elsewhere"]));
    assert_eq!(store.other.of_user(&user(1), NOW).await.unwrap().len(), 2);
    assert!(store.other.find(&old.key, NOW).await.unwrap().is_some(), "an operator can end it");

    // The person signs in again in the browser of the session `new`.
    let again = Session { seat: Some(new.key.clone()), ..session("again", 1) };
    store.one.insert(again.clone()).await.unwrap();
    store.one.take(&again, true).await.unwrap();
    assert_eq!(keys(store.other.as_ref(), NOW).await, named(&["new", "again", "other", "elsewhere"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_who_take_the_seat_at_once_one_is_the_newest() {
    let store = store().await;
    let profile = "default".parse().unwrap();
    let sessions: Vec<Session> = (0..50).map(|number| session(&format!("login {number}"), 1)).collect();
    let takes = sessions.iter().enumerate().map(|(index, session)| {
        let store = if index % 2 == 0 { store.one.clone() } else { store.other.clone() };
        let session = session.clone();
        tokio::spawn(async move {
            store.insert(session.clone()).await.unwrap();
            store.take(&session, true).await.unwrap();
        })
    });
    for take in takes.collect::<Vec<_>>() {
        take.await.unwrap();
    }
    let newest = store.other.newest(&user(1), &profile).await.unwrap().unwrap();
    assert_eq!(sessions.iter().filter(|session| !newest.displaces(session.seat())).count(), 1);
    assert_eq!(keys(store.one.as_ref(), NOW).await, BTreeSet::from([newest.seat]));
}

#[tokio::test]
async fn the_switch_is_kept_for_every_process_and_ends_what_began_before() {
    let store = store().await;
    assert_eq!(store.one.sign_in_state().await.unwrap(), SignInState::default());
    store.one.set_lock(Some(NOW)).await.unwrap();
    assert_eq!(store.other.sign_in_state().await.unwrap().locked_at, Some(NOW));
    store.other.set_lock(None).await.unwrap();
    assert_eq!(store.one.sign_in_state().await.unwrap(), SignInState::default());

    store.one.insert(session("before", 1)).await.unwrap();
    store.one.end_until(NOW).await.unwrap();
    let later = Session { created_at: NOW + Duration::SECOND, ..session("after", 1) };
    store.one.insert(later).await.unwrap();
    let state = store.other.sign_in_state().await.unwrap();
    assert!(state.ends(NOW) && !state.ends(NOW + Duration::SECOND));
    assert_eq!(keys(store.other.as_ref(), NOW).await, named(&["after"]));
    store.other.end_until(NOW - Duration::HOUR).await.unwrap();
    assert!(store.one.sign_in_state().await.unwrap().ends(NOW), "the time never moves back");
    store.other.set_lock(Some(NOW)).await.unwrap();
    assert_eq!(store.one.sign_in_state().await.unwrap(), SignInState { locked_at: Some(NOW), ended_at: Some(NOW) });
}

/// The table as version 0.2.0 and earlier versions created it.
const BEFORE: &str = "
CREATE TABLE sessions (
    key TEXT NOT NULL PRIMARY KEY, profile TEXT NOT NULL, flex_user_sid TEXT NOT NULL, sealed TEXT NOT NULL,
    version INTEGER NOT NULL, created_at INTEGER NOT NULL, used_at INTEGER NOT NULL, ends_at INTEGER NOT NULL,
    leased_until INTEGER NOT NULL DEFAULT 0
) STRICT;";

#[tokio::test]
async fn a_file_of_an_earlier_version_is_read_listed_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let old = Session { origin: SessionOrigin::default(), ..session("old", 1) };
    let insert = "INSERT INTO sessions (key, profile, flex_user_sid, sealed, version, created_at, used_at, ends_at)
                  VALUES (?1, 'default', ?2, 'v1.1.sealed', 0, ?3, ?3, ?4)";
    let values = |session: &Session| {
        let (key, user) = (session.key.as_str().to_owned(), session.flex_user_sid.to_string());
        (key, user, session.created_at.unix_timestamp(), session.ends_at.unix_timestamp())
    };
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(BEFORE).unwrap();
    db.execute(insert, values(&old)).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get(&old.key).await.unwrap(), Some(old.clone()));
    let new = session("new", 1);
    store.insert(new.clone()).await.unwrap();
    // A process of the earlier version still writes to the same file.
    let late = Session { origin: SessionOrigin::default(), ..session("late", 1) };
    db.execute(insert, values(&late)).unwrap();
    assert_eq!(store.get(&new.key).await.unwrap(), Some(new));
    assert_eq!(store.of_user(&user(1), NOW).await.unwrap().len(), 3);
    drop(SqliteStore::open(&path).unwrap());
}

#[tokio::test]
async fn the_sessions_that_began_by_a_time_end_and_later_ones_and_other_peoples_stay() {
    let store = store().await;
    let began = |id: &str, of: u8, seconds: i64| {
        let created_at = NOW + Duration::seconds(seconds);
        Session { created_at, used_at: created_at, ..session(id, of) }
    };
    for one in [began("before", 1, -1), began("at", 1, 0), began("after", 1, 1), began("other", 2, -1)] {
        store.one.insert(one).await.unwrap();
    }
    let ended = store.other.end_begun_by(&user(1), NOW).await.unwrap();
    assert_eq!(BTreeSet::from_iter(ended), named(&["before", "at"]));
    assert_eq!(store.other.end_begun_by(&user(1), NOW).await.unwrap(), []);
    assert_eq!(store.other.end_begun_by(&user(3), NOW).await.unwrap(), []);
    for (id, lasts) in [("before", false), ("at", false), ("after", true), ("other", true)] {
        assert_eq!(store.one.get(&SessionKey::of(id)).await.unwrap().is_some(), lasts, "{id}");
    }
}

#[tokio::test]
async fn an_ending_is_kept_under_each_key_and_the_latest_one_counts() {
    let store = store().await;
    let identity =
        |subject: &str| EndingKey::Identity(Identity { issuer: "https://idp.example".into(), subject: subject.into() });
    let username = |name: &str| EndingKey::Username(name.parse::<Username>().unwrap().key());
    let ada = [EndingKey::FlexUser(user(1)), username("Ada"), identity("ada")];
    let until = |keys: Vec<EndingKey>| async { store.other.ended_until(&{ keys }).await.unwrap() };
    assert_eq!(until(ada.to_vec()).await, EndedUntil(None));
    store.one.record_ending(&ada, NOW).await.unwrap();
    for key in [EndingKey::FlexUser(user(1)), username("ADA"), identity("ada")] {
        assert_eq!(until(vec![key]).await, EndedUntil(Some(NOW)));
    }
    for key in [EndingKey::FlexUser(user(2)), username("eve"), identity("Ada")] {
        assert_eq!(until(vec![key]).await, EndedUntil(None));
    }
    let later = NOW + Duration::HOUR;
    store.other.record_ending(&[username("ada")], later).await.unwrap();
    store.one.record_ending(&ada, NOW - Duration::HOUR).await.unwrap();
    assert_eq!(until(ada.to_vec()).await, EndedUntil(Some(later)), "an earlier ending that comes late changes nothing");
    assert_eq!(until(vec![identity("ada")]).await, EndedUntil(Some(NOW)));
    assert_eq!(until(Vec::new()).await, EndedUntil(None));
    store.one.record_ending(&[], later).await.unwrap();
}
