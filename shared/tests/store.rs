//! Tests sessions, bindings, counters and `OnceOnly`, in SQLite and in DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "common/dynamodb.rs"]
mod dynamodb;

use std::sync::Arc;

use flexgate::domain::{FlexUserSid, Identity};
use flexgate::store::{
    Bindings, Bound, Counted, Counters, Lease, OnceOnly, ReturnAddresses, Session, SessionKey, SessionOrigin, Sessions,
    SqliteStore,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

trait Store: Sessions + OnceOnly + Counters + Bindings + ReturnAddresses {}
impl<S: Sessions + OnceOnly + Counters + Bindings + ReturnAddresses> Store for S {}

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
        origin: SessionOrigin::default(),
    }
}

fn identity(subject: &str) -> Identity {
    Identity { issuer: "https://idp.example".into(), subject: subject.into() }
}

#[tokio::test]
async fn a_session_is_kept_as_it_was_for_every_process() {
    let store = store().await;
    let ada = session("ada", 1);
    store.one.insert(ada.clone()).await.unwrap();
    assert_eq!(store.other.get(&ada.key).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.one.get(&SessionKey::of("nobody")).await.unwrap(), None);
    let other = Session { sealed: "v1.1.other".into(), ..ada.clone() };
    assert!(store.other.insert(other).await.is_err(), "an identifier is never given twice");
    assert_eq!(store.other.get(&ada.key).await.unwrap(), Some(ada.clone()));
    store.one.end(&ada.key).await.unwrap();
    store.one.end(&ada.key).await.unwrap();
    assert_eq!(store.other.get(&ada.key).await.unwrap(), None);
}

#[tokio::test]
async fn use_is_noted_and_never_moves_back() {
    let store = store().await;
    let ada = session("ada", 1);
    store.one.insert(ada.clone()).await.unwrap();
    store.one.touch(&ada, NOW + Duration::minutes(5)).await.unwrap();
    store.other.touch(&ada, NOW + Duration::minutes(2)).await.unwrap();
    assert_eq!(store.one.get(&ada.key).await.unwrap().unwrap().used_at, NOW + Duration::minutes(5));
    assert!(store.one.refreshed(&ada.key, 0, "v1.1.next").await.unwrap());
    assert_eq!(store.one.get(&ada.key).await.unwrap().unwrap().used_at, NOW + Duration::minutes(5));
    store.one.end(&ada.key).await.unwrap();
    store.other.touch(&ada, NOW + Duration::minutes(6)).await.unwrap();
    assert_eq!(store.one.get(&ada.key).await.unwrap(), None, "a use does not bring a session back");
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_is_granted_the_lease() {
    let store = store().await;
    let ada = session("ada", 1);
    store.one.insert(ada.clone()).await.unwrap();
    let asks = (0..20).map(|index| {
        let (store, key) = (if index % 2 == 0 { store.one.clone() } else { store.other.clone() }, ada.key.clone());
        tokio::spawn(async move { store.lease(&key, 0, NOW, NOW + Duration::seconds(10)).await.unwrap() })
    });
    let mut granted = 0;
    for ask in asks.collect::<Vec<_>>() {
        granted += usize::from(ask.await.unwrap() == Lease::Granted);
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn a_lease_ends_by_time_by_release_and_by_the_refresh_it_was_for() {
    let store = store().await;
    let ada = session("ada", 1);
    store.one.insert(ada.clone()).await.unwrap();
    let until = NOW + Duration::seconds(10);
    assert_eq!(store.one.lease(&ada.key, 0, NOW, until).await.unwrap(), Lease::Granted);
    assert_eq!(store.other.lease(&ada.key, 0, NOW, until).await.unwrap(), Lease::Held);
    assert_eq!(store.other.lease(&ada.key, 0, until, until + Duration::seconds(10)).await.unwrap(), Lease::Granted);
    // A late request by the first holder must not release the lease of the second holder.
    store.one.release(&ada.key, 0, until).await.unwrap();
    assert_eq!(store.one.lease(&ada.key, 0, until, until).await.unwrap(), Lease::Held);
    store.other.release(&ada.key, 0, until + Duration::seconds(10)).await.unwrap();
    assert_eq!(store.one.lease(&ada.key, 0, NOW, until).await.unwrap(), Lease::Granted);

    assert!(store.one.refreshed(&ada.key, 0, "v1.1.next").await.unwrap());
    let now = store.other.get(&ada.key).await.unwrap().unwrap();
    assert_eq!((now.version, now.sealed.as_str()), (1, "v1.1.next"));
    assert_eq!(store.other.lease(&ada.key, 0, NOW, until).await.unwrap(), Lease::Moved);
    assert_eq!(store.other.lease(&ada.key, 1, NOW, until).await.unwrap(), Lease::Granted);
}

#[tokio::test]
async fn a_process_that_knows_an_old_version_gets_no_lease_and_disturbs_none() {
    let store = store().await;
    let ada = session("ada", 1);
    store.one.insert(ada.clone()).await.unwrap();
    let (until, later) = (NOW + Duration::seconds(10), NOW + Duration::seconds(20));
    assert_eq!(store.one.lease(&ada.key, 0, NOW, until).await.unwrap(), Lease::Granted);
    assert!(store.one.refreshed(&ada.key, 0, "v1.1.next").await.unwrap());
    assert_eq!(store.other.lease(&ada.key, 0, until, later).await.unwrap(), Lease::Moved, "the old lease is over");
    assert_eq!(store.one.lease(&ada.key, 1, until, later).await.unwrap(), Lease::Granted);
    assert_eq!(store.other.lease(&ada.key, 0, later, later).await.unwrap(), Lease::Moved);
    store.other.release(&ada.key, 0, later).await.unwrap();
    store.other.touch(&ada, until).await.unwrap();
    assert_eq!(store.other.lease(&ada.key, 1, until, later).await.unwrap(), Lease::Held);
    assert_eq!(store.one.get(&ada.key).await.unwrap().unwrap().used_at, until);
}

#[tokio::test]
async fn a_refresh_over_an_old_version_or_a_session_that_is_gone_is_not_written() {
    let store = store().await;
    let ada = session("ada", 1);
    store.one.insert(ada.clone()).await.unwrap();
    assert!(store.one.refreshed(&ada.key, 0, "v1.1.first").await.unwrap());
    assert!(!store.other.refreshed(&ada.key, 0, "v1.1.late").await.unwrap());
    assert_eq!(store.one.get(&ada.key).await.unwrap().unwrap().sealed, "v1.1.first");
    store.one.end(&ada.key).await.unwrap();
    assert!(!store.other.refreshed(&ada.key, 1, "v1.1.late").await.unwrap());
    assert_eq!(store.one.get(&ada.key).await.unwrap(), None, "a refresh does not bring a session back");
    assert_eq!(store.one.lease(&ada.key, 1, NOW, NOW).await.unwrap(), Lease::Moved);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_and_nobody_elses() {
    let store = store().await;
    for (id, of) in [("a", 1), ("b", 1), ("c", 2)] {
        store.one.insert(session(id, of)).await.unwrap();
    }
    assert_eq!(store.other.end_all_of(&user(1)).await.unwrap(), 2);
    assert_eq!(store.one.get(&SessionKey::of("a")).await.unwrap(), None);
    assert!(store.one.get(&SessionKey::of("c")).await.unwrap().is_some());
    assert_eq!(store.one.end_all_of(&user(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn what_has_ended_is_swept() {
    let store = store().await;
    let mut old = session("old", 1);
    old.ends_at = NOW - Duration::seconds(1);
    store.one.insert(old).await.unwrap();
    store.one.insert(session("new", 1)).await.unwrap();
    let swept = store.other.sweep(NOW).await.unwrap();
    assert!(swept == 1 || std::env::var("FLEXGATE_TEST_AWS_ENDPOINT").is_ok(), "DynamoDB does it by itself");
    assert!(store.one.get(&SessionKey::of("new")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_claim_is_granted_once_until_it_ends_and_per_kind() {
    let store = store().await;
    let until = NOW + Duration::minutes(10);
    let asks = (0..20).map(|index| {
        let store = if index % 2 == 0 { store.one.clone() } else { store.other.clone() };
        tokio::spawn(async move { store.claim("login", "1", NOW, until).await.unwrap() })
    });
    let mut granted = 0;
    for ask in asks.collect::<Vec<_>>() {
        granted += usize::from(ask.await.unwrap());
    }
    assert_eq!(granted, 1);
    assert!(store.one.claim("event", "1", NOW, until).await.unwrap());
    assert!(!store.other.claim("login", "1", until, until).await.unwrap());
    let later = until + Duration::seconds(1);
    assert!(store.other.claim("login", "1", later, later + Duration::minutes(10)).await.unwrap());
}

#[tokio::test]
async fn a_claim_for_a_holder_is_granted_to_this_holder_until_it_ends() {
    let store = store().await;
    let until = NOW + Duration::minutes(10);
    let claim = async |store: &Arc<dyn Store>, holder: &[&str], what: &str, now| {
        store.claim_for(holder, "token", what, now, until + Duration::HOUR).await.unwrap()
    };
    assert!(store.one.claim_for(&["ada", ""], "token", "1", NOW, until).await.unwrap());
    for _ in 0..2 {
        assert!(store.other.claim_for(&["ada", ""], "token", "1", NOW, until).await.unwrap(), "again");
        for holder in [&["eve", ""][..], &["", "ada"], &["ada"], &["ada", "", ""], &[]] {
            assert!(!claim(&store.other, holder, "1", NOW).await, "{holder:?}");
            assert!(!claim(&store.one, holder, "1", until).await, "{holder:?}");
        }
    }
    assert!(!store.one.claim("token", "1", NOW, until).await.unwrap());
    assert!(claim(&store.one, &["eve"], "2", NOW).await, "another action");
    assert!(store.one.claim_for(&["eve"], "other", "1", NOW, until).await.unwrap(), "another kind");
    assert!(store.one.claim("token", "3", NOW, until).await.unwrap());
    assert!(!claim(&store.other, &["ada"], "3", NOW).await, "it is claimed without a holder");
    let later = until + Duration::SECOND;
    assert!(claim(&store.other, &["eve"], "1", later).await);
    assert!(!claim(&store.one, &["ada", ""], "1", later).await);
}

#[tokio::test]
async fn of_many_who_claim_at_once_one_holder_is_granted_every_claim() {
    let store = store().await;
    let until = NOW + Duration::minutes(10);
    let asks = (0..20).map(|index| {
        let store = if index % 2 == 0 { store.one.clone() } else { store.other.clone() };
        let holder = ["ada", "eve"][index / 2 % 2];
        tokio::spawn(async move { (holder, store.claim_for(&[holder], "token", "1", NOW, until).await.unwrap()) })
    });
    let mut granted = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        let (holder, is_granted) = ask.await.unwrap();
        if is_granted {
            granted.push(holder);
        }
    }
    assert_eq!(granted, [granted[0]; 10]);
}

#[tokio::test]
async fn of_many_who_count_at_once_each_gets_a_number_of_its_own() {
    let store = store().await;
    let until = NOW + Duration::MINUTE;
    let counts = (0..20).map(|index| {
        let store = if index % 2 == 0 { store.one.clone() } else { store.other.clone() };
        tokio::spawn(async move { store.count("mint", &["iss", "sub"], NOW, Duration::MINUTE).await.unwrap() })
    });
    let mut numbers = Vec::new();
    for count in counts.collect::<Vec<_>>() {
        let Counted { times, until: ends } = count.await.unwrap();
        assert_eq!(ends, until);
        numbers.push(times);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<u32>>());
}

#[tokio::test]
async fn a_count_is_per_kind_and_subject_and_begins_anew_when_its_span_ends() {
    let store = store().await;
    let count = async |kind: &str, what: &[&str], at| store.one.count(kind, what, at, Duration::MINUTE).await.unwrap();
    let until = NOW + Duration::MINUTE;
    assert_eq!(count("mint", &["a", "b"], NOW).await, Counted { times: 1, until });
    assert_eq!(count("mint", &["ab", ""], NOW).await.times, 1);
    assert_eq!(count("other", &["a", "b"], NOW).await.times, 1);
    // The time span begins with the first count, and later counts do not extend it.
    let last = until - Duration::SECOND;
    assert_eq!(count("mint", &["a", "b"], last).await, Counted { times: 2, until });
    assert_eq!(count("mint", &["a", "b"], until).await, Counted { times: 1, until: until + Duration::MINUTE });
}

#[tokio::test]
async fn a_count_that_is_forgotten_begins_anew_and_no_other_does() {
    let store = store().await;
    for (what, times) in [("a", 1), ("a", 2), ("b", 1)] {
        assert_eq!(store.one.count("tries", &[what], NOW, Duration::MINUTE).await.unwrap().times, times);
    }
    for _ in 0..2 {
        store.other.forget("tries", &["a"]).await.unwrap();
    }
    for (what, times) in [("a", 1), ("b", 2)] {
        assert_eq!(store.one.count("tries", &[what], NOW, Duration::MINUTE).await.unwrap().times, times);
    }
}

#[tokio::test]
async fn an_identity_and_a_user_are_bound_to_each_other_alone() {
    let store = store().await;
    let (ada, eve) = (identity("ada"), identity("eve"));
    assert_eq!(store.one.user_of(&ada).await.unwrap(), None);
    assert_eq!(store.one.bind(&ada, &user(1), NOW).await.unwrap(), Bound::Yes);
    assert_eq!(store.other.bind(&ada, &user(1), NOW).await.unwrap(), Bound::Yes);
    assert_eq!(store.other.bind(&ada, &user(2), NOW).await.unwrap(), Bound::IdentityTaken(user(1)));
    assert_eq!(store.other.bind(&eve, &user(1), NOW).await.unwrap(), Bound::UserTaken);
    assert_eq!(store.other.user_of(&ada).await.unwrap(), Some(user(1)));
    assert_eq!(store.other.user_of(&eve).await.unwrap(), None);
    store.one.unbind(&user(1)).await.unwrap();
    assert_eq!(store.other.bind(&eve, &user(1), NOW).await.unwrap(), Bound::Yes);
}

#[tokio::test]
async fn an_identity_unbinds_itself_alone() {
    let store = store().await;
    let (ada, eve) = (identity("ada"), identity("eve"));
    assert_eq!(store.one.bind(&ada, &user(1), NOW).await.unwrap(), Bound::Yes);
    for (other, of) in [(&eve, 1), (&ada, 2), (&eve, 2)] {
        store.other.unbind_identity(other, &user(of)).await.unwrap();
        assert_eq!(store.one.user_of(&ada).await.unwrap(), Some(user(1)));
    }
    store.other.unbind_identity(&ada, &user(1)).await.unwrap();
    assert_eq!(store.one.user_of(&ada).await.unwrap(), None);
    assert_eq!(store.one.bind(&eve, &user(1), NOW).await.unwrap(), Bound::Yes);
}

#[tokio::test]
async fn a_return_address_is_kept_for_every_process() {
    let store = store().await;
    let (address, until) = ("v1.1.sealed".to_owned(), NOW + Duration::minutes(10));
    store.one.keep_address("1", address.clone(), NOW, until).await.unwrap();
    assert_eq!(store.other.address_of("1").await.unwrap(), Some(address));
    assert_eq!(store.other.address_of("2").await.unwrap(), None);
    // When the SQLite store stores the address of login 2, it also removes the address of login 1, which has expired.
    // DynamoDB removes expired addresses by itself.
    let later = until + Duration::MINUTE;
    store.other.keep_address("2", "v1.1.other".into(), later, later).await.unwrap();
    assert_eq!(store.one.address_of("2").await.unwrap(), Some("v1.1.other".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_make_one_binding_at_once_all_are_bound() {
    let store = store().await;
    for round in 1..=8 {
        let binds = (0..8).map(|index| {
            let store = if index % 2 == 0 { store.one.clone() } else { store.other.clone() };
            tokio::spawn(async move { store.bind(&identity(&round.to_string()), &user(round), NOW).await.unwrap() })
        });
        for bound in binds.collect::<Vec<_>>() {
            assert_eq!(bound.await.unwrap(), Bound::Yes);
        }
    }
}

#[tokio::test]
async fn of_many_who_claim_one_user_at_once_one_is_bound() {
    let store = store().await;
    let asks = (0..20).map(|index| {
        let store = if index % 2 == 0 { store.one.clone() } else { store.other.clone() };
        tokio::spawn(async move { store.bind(&identity(&index.to_string()), &user(1), NOW).await.unwrap() })
    });
    let mut bound = 0;
    for ask in asks.collect::<Vec<_>>() {
        bound += usize::from(ask.await.unwrap() == Bound::Yes);
    }
    assert_eq!(bound, 1);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let store = SqliteStore::open(&path).unwrap();
    store.insert(session("ada", 1)).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.get(&SessionKey::of("ada")).await.unwrap().is_some());
}

#[tokio::test]
async fn claims_of_version_0_2_0_stay_claimed_and_no_holder_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE claims (claim TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         CREATE INDEX claims_by_end ON claims (until);",
    )
    .unwrap();
    let until = NOW + Duration::minutes(10);
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.claim("token", "1", NOW, until).await.unwrap());
    assert!(store.claim_for(&["ada"], "token", "2", NOW, until).await.unwrap());
    // A process with version 0.2.0 can still write to the file, for example during an update.
    old.execute("INSERT OR IGNORE INTO claims (claim, until) SELECT 'old', until FROM claims LIMIT 1", []).unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(!store.claim_for(&["ada"], "token", "1", NOW, until).await.unwrap());
    assert!(store.claim_for(&["ada"], "token", "2", NOW, until).await.unwrap());
    let holders: Vec<Option<String>> = {
        let mut all = old.prepare("SELECT holder FROM claims").unwrap();
        all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!((holders.len(), holders.iter().flatten().count()), (3, 1));
    assert!(holders.iter().flatten().all(|holder| holder.len() == 43 && !holder.contains("ada")));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_but_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("flexgate.db")).unwrap();
    store.insert(session("ada", 1)).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    std::fs::write(&path, "not a database, certainly not one of ours").unwrap();
    assert!(SqliteStore::open(&path).is_err());
    assert!(SqliteStore::open(&folder.path().join("missing/flexgate.db")).is_err());
}
