//! Tests the username index.

use flexgate::domain::{Username, UsernameKey};
use flexgate::store::SeenUser;
use time::{Duration, OffsetDateTime};

use super::{Adapter, NOW, WRITERS, sid, store};

const LATER: OffsetDateTime = NOW.saturating_add(Duration::hours(1));

fn key(name: &str) -> UsernameKey {
    name.parse::<Username>().unwrap().key()
}

fn user(number: u8, name: &str, active: bool) -> SeenUser {
    SeenUser { key: key(name), username: name.parse().unwrap(), flex_user_sid: sid(number), active }
}

impl Adapter {
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) {
        self.one.put_seen(seen, at).await.unwrap();
    }

    async fn seen(&self, name: &str) -> Vec<SeenUser> {
        self.other.seen(&key(name)).await.unwrap()
    }
}

#[tokio::test]
async fn users_are_found_by_any_spelling_of_their_username_an_active_one_first() {
    let store = store().await;
    store.put_seen(&[], NOW).await;
    let users = [user(1, "Zo\u{e9}", false), user(2, "ZOE\u{301}", true), user(3, "ada", true)];
    store.put_seen(&users, NOW).await;
    let [first, second, ada] = users;
    for spelling in ["zo\u{e9}", "ZOE\u{301}"] {
        assert_eq!(store.seen(spelling).await, [second.clone(), first.clone()], "{spelling}");
    }
    assert_eq!(store.seen("ada").await, [ada]);
    assert_eq!(store.seen("eve").await, []);
}

#[tokio::test]
async fn what_was_seen_earlier_does_not_overwrite_what_was_seen_later() {
    let store = store().await;
    let (now, then) = (user(1, "Ada", false), user(1, "ada", true));
    store.put_seen(std::slice::from_ref(&now), NOW).await;
    store.put_seen(std::slice::from_ref(&then), NOW - Duration::NANOSECOND).await;
    assert_eq!(store.seen("ada").await, std::slice::from_ref(&now));
    store.put_seen(std::slice::from_ref(&then), NOW).await;
    assert_eq!(store.seen("ada").await, std::slice::from_ref(&then), "at one time, the last write counts");
    store.put_seen(std::slice::from_ref(&now), NOW + Duration::NANOSECOND).await;
    assert_eq!(store.seen("ada").await, [now]);
}

#[tokio::test]
async fn of_two_sightings_in_one_write_the_last_counts() {
    let store = store().await;
    let sightings: Vec<_> = (0..20).map(|number| user(1, "ada", number % 2 == 1)).collect();
    store.put_seen(&sightings, NOW).await;
    assert_eq!(store.seen("ada").await, [user(1, "ada", true)]);
}

#[tokio::test]
async fn a_walk_forgets_what_it_has_not_seen_and_keeps_what_changed_meanwhile() {
    let store = store().await;
    assert_eq!(store.other.last_walk().await.unwrap(), None);
    store.put_seen(&[user(1, "ada", true), user(2, "eve", true), user(3, "grace", true)], NOW).await;
    store.one.finish_walk(NOW).await.unwrap();
    assert_eq!(store.other.last_walk().await.unwrap(), Some(NOW));
    assert_eq!(store.seen("ada").await.len(), 1, "seen by that very walk");

    // A second run that reads all users begins. During this run, Grace is deactivated and a new user is provisioned.
    let meanwhile = LATER + Duration::minutes(1);
    store.put_seen(&[user(3, "grace", false), user(4, "new", true)], meanwhile).await;
    store.put_seen(&[user(1, "ada", true), user(3, "grace", true)], LATER).await;
    assert_eq!(store.seen("eve").await.len(), 1, "the walk is not complete");
    store.one.finish_walk(LATER).await.unwrap();
    assert_eq!(store.other.last_walk().await.unwrap(), Some(LATER));
    assert_eq!(store.seen("eve").await, []);
    assert_eq!(store.seen("ada").await, [user(1, "ada", true)]);
    assert_eq!(store.seen("grace").await, [user(3, "grace", false)]);
    assert_eq!(store.seen("new").await, [user(4, "new", true)]);
}

#[tokio::test]
async fn a_walk_that_is_overtaken_by_a_later_one_brings_nobody_back() {
    let store = store().await;
    store.one.finish_walk(LATER).await.unwrap();
    store.put_seen(&[user(1, "ada", true)], NOW).await;
    assert_eq!(store.seen("ada").await, []);
    store.other.finish_walk(NOW).await.unwrap();
    assert_eq!(store.other.last_walk().await.unwrap(), Some(LATER));
    assert_eq!(store.seen("ada").await, []);
    store.put_seen(&[user(1, "ada", true)], LATER).await;
    assert_eq!(store.seen("ada").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_write_at_once_the_latest_sighting_stays() {
    let store = store().await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let process = if number % 2 == 0 { &store.one } else { &store.other }.clone();
            let spelling = if number == WRITERS - 1 { "ADA" } else { "ada" };
            let seen = user(1, spelling, number == WRITERS - 1);
            tokio::spawn(
                async move { process.put_seen(&[seen], NOW + Duration::seconds(number.into())).await.unwrap() },
            )
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.seen("ada").await, [user(1, "ADA", true)]);
}

#[tokio::test]
async fn a_page_of_many_users_is_written_whole() {
    let store = store().await;
    let users: Vec<_> = (0..200).map(|number| user(number, &format!("agent-{number}"), number % 2 == 0)).collect();
    store.put_seen(&users, NOW).await;
    for expected in users {
        assert_eq!(store.seen(expected.username.as_str()).await, [expected]);
    }
}
