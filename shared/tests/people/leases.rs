//! Tests leases, which let only one process at a time reconcile a person.

use flexgate::store::{PersonLease, Written};
use time::{Duration, OffsetDateTime};

use super::{NOW, WRITERS, id, person, says_active, store};

const UNTIL: OffsetDateTime = NOW.saturating_add(Duration::seconds(20));
const LATER: OffsetDateTime = NOW.saturating_add(Duration::minutes(5));
const FIRST: PersonLease = PersonLease::Granted { taken_over: false };
const TAKEN_OVER: PersonLease = PersonLease::Granted { taken_over: true };

#[tokio::test]
async fn a_lease_is_one_holders_until_it_is_released() {
    let store = store().await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, PersonLease::Unknown);
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, FIRST);
    assert_eq!(store.other.lease(id(1), 2, NOW, LATER).await.unwrap(), PersonLease::Held(UNTIL));
    assert!(store.other.release(id(1), 1, Some(1)).await.unwrap());
    assert!(!store.one.release(id(1), 1, Some(1)).await.unwrap(), "it is released already");
    assert_eq!(store.lease(2, NOW, UNTIL).await, FIRST);
    assert!(store.one.release(id(1), 2, None).await.unwrap());
    assert_eq!(store.read(id(1)).await, ada, "a lease is no write");
}

#[tokio::test]
async fn leases_of_different_people_are_independent() {
    let store = store().await;
    store.add(&person(1, "ada")).await;
    store.add(&person(2, "eve")).await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, FIRST);
    assert_eq!(store.one.lease(id(2), 2, NOW, UNTIL).await.unwrap(), FIRST);
}

#[tokio::test]
async fn a_lease_that_has_ended_is_taken_over_and_its_holder_cannot_release_it() {
    let store = store().await;
    store.add(&person(1, "ada")).await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, FIRST);
    let just_before = UNTIL - Duration::MILLISECOND;
    assert_eq!(store.lease(2, just_before, LATER).await, PersonLease::Held(UNTIL));
    assert_eq!(store.lease(2, UNTIL, LATER).await, TAKEN_OVER);
    assert!(!store.one.release(id(1), 1, None).await.unwrap());
    assert!(!store.one.release(id(1), 1, Some(1)).await.unwrap());
    assert_eq!(store.lease(1, UNTIL, LATER).await, PersonLease::Held(LATER));
    assert!(store.one.release(id(1), 2, Some(1)).await.unwrap());
    assert_eq!(store.lease(1, LATER, LATER + Duration::MINUTE).await, FIRST, "that one was given back");
}

#[tokio::test]
async fn a_holder_that_asks_again_keeps_the_lease() {
    let store = store().await;
    store.add(&person(1, "ada")).await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, FIRST);
    assert_eq!(store.lease(1, NOW, LATER).await, TAKEN_OVER, "nobody knows whether its first answer was lost");
    assert_eq!(store.lease(2, UNTIL, LATER).await, PersonLease::Held(LATER));
}

#[tokio::test]
async fn a_lease_is_not_released_over_a_version_that_its_holder_has_not_seen() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, FIRST);
    assert_eq!(
        store.state(&ada, "api", &says_active(false), None).await,
        Written::Yes(2),
        "a lease locks no writer out"
    );
    assert!(!store.one.release(id(1), 1, Some(1)).await.unwrap());
    assert_eq!(store.lease(2, NOW, UNTIL).await, PersonLease::Held(UNTIL), "it is still held");
    assert!(store.one.release(id(1), 1, Some(2)).await.unwrap());
    assert_eq!(store.lease(2, NOW, UNTIL).await, FIRST);
    let ada = store.read(id(1)).await;
    assert_eq!(store.note(&ada, Some(1)).await, Written::Yes(3));
    assert!(store.one.release(id(1), 2, None).await.unwrap(), "whatever the version");
}

#[tokio::test]
async fn a_stranger_releases_nothing() {
    let store = store().await;
    assert!(!store.one.release(id(1), 1, None).await.unwrap(), "there is no such person");
    store.add(&person(1, "ada")).await;
    assert_eq!(store.lease(1, NOW, UNTIL).await, FIRST);
    for version in [None, Some(1)] {
        assert!(!store.one.release(id(1), 2, version).await.unwrap());
    }
    assert_eq!(store.lease(2, NOW, UNTIL).await, PersonLease::Held(UNTIL));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_ask_at_once_one_is_granted_the_lease() {
    let store = store().await;
    store.add(&person(1, "ada")).await;
    let asks: Vec<_> = (0..u128::from(WRITERS))
        .map(|holder| {
            let process = if holder % 2 == 0 { &store.one } else { &store.other }.clone();
            tokio::spawn(async move { process.lease(id(1), holder, NOW, UNTIL).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for ask in asks {
        answers.push(ask.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| **answer == FIRST).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| [FIRST, PersonLease::Held(UNTIL)].contains(answer)), "{answers:?}");
}
