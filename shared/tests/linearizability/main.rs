//! Records histories of concurrent clients of the store, in SQLite and in DynamoDB, and checks that each history is
//! linearizable.
//!
//! Some answers are lost, because clients give up operations, and because a proxy in front of DynamoDB drops answers.
//! In the second case, the SDK repeats a request that DynamoDB has already performed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[expect(dead_code, reason = "a history that is printed shows the clients")]
mod checker;
mod claims;
#[path = "../common/dynamodb.rs"]
#[expect(dead_code, reason = "other suites use a table without a proxy")]
mod dynamodb;
mod groups;
mod history;
mod people;
#[path = "../common/proxy.rs"]
#[expect(dead_code, reason = "other suites cut the proxy, or lose one answer")]
mod proxy;
mod scim;
mod seats;
mod sessions;
mod usernames;

use std::sync::Arc;

use flexgate::store::{Bindings, OnceOnly, People, ScimStore, Seats, Sessions, SqliteStore, UsernameIndex};
use time::OffsetDateTime;
use time::macros::datetime;

use history::check;
use proxy::Proxy;

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

pub trait Store: Sessions + Seats + OnceOnly + Bindings + People + ScimStore + UsernameIndex {}
impl<S: Sessions + Seats + OnceOnly + Bindings + People + ScimStore + UsernameIndex> Store for S {}

/// Several instances of the store with the same data, as in several processes.
pub struct Stores {
    pub each: Vec<Arc<dyn Store>>,
    pub histories: u32,
    pub is_dynamodb: bool,
    proxies: Vec<Proxy>,
    _folder: Option<tempfile::TempDir>,
}

impl Stores {
    fn lose_no_answers(&self) {
        for proxy in &self.proxies {
            proxy.lose_none();
        }
    }
}

/// The proxy loses one answer out of this many.
const LOSES_EVERY: u32 = 13;

/// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
/// `FLEXGATE_TEST_HISTORIES` sets the number of histories.
async fn stores() -> Stores {
    let histories = std::env::var("FLEXGATE_TEST_HISTORIES").ok().and_then(|text| text.parse().ok());
    if let Ok(endpoint) = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
        let (name, _, aws) = dynamodb::new_table(&endpoint).await;
        let (mut each, mut proxies) = (Vec::<Arc<dyn Store>>::new(), Vec::new());
        for _ in 0..2 {
            let proxy = Proxy::to(&endpoint).await;
            proxy.lose_every(LOSES_EVERY);
            each.push(Arc::new(dynamodb::store_in(&name, &proxy.url(), aws.clone())));
            proxies.push(proxy);
        }
        return Stores { each, histories: histories.unwrap_or(3), is_dynamodb: true, proxies, _folder: None };
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let open = || -> Arc<dyn Store> { Arc::new(SqliteStore::open(&path).unwrap()) };
    Stores {
        each: vec![open(), open()],
        histories: histories.unwrap_or(20),
        is_dynamodb: false,
        proxies: Vec::new(),
        _folder: Some(folder),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_only_claims_are_linearizable() {
    check::<claims::Claims>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_for_holders_are_linearizable() {
    check::<claims::ClaimsForHolders>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_are_linearizable() {
    check::<claims::BindingsOfTwo>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_their_leases_are_linearizable() {
    check::<sessions::OneSession>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_are_linearizable() {
    let stores = stores().await;
    // This test loses no answers. If the answer to the write of a sign-in is lost, the SDK writes again, and may
    // overwrite another sign-in that was recorded in between. One operation has then changed the record twice, so the
    // history is not linearizable. docs/testing.md lists this known exception.
    stores.lose_no_answers();
    check::<seats::SeatsOfOne>(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_their_leases_are_linearizable() {
    check::<people::OnePerson>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scim_entries_and_work_are_linearizable() {
    check::<scim::OneEntry>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_linearizable() {
    check::<groups::TwoGroups>(&stores().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_username_index_is_linearizable() {
    check::<usernames::OneName>(&stores().await).await;
}
