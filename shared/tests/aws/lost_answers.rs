//! Tests writes to DynamoDB whose answer is lost on the way. The SDK then sends the request again. The store must
//! recognise the repeated request, and must not mistake it for a request from another process.

use flexgate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use flexgate::domain::{FlexUserSid, Identity};
use flexgate::store::scim::{Begun, Entry, Group, GroupWritten, Member, Work};
use flexgate::store::{
    Bindings, Bound, Counters, DynamoStore, Lease, Noting, OnceOnly, People, PersonKey, PersonLease, ScimStore,
    SeenUser, Session, SessionKey, Sessions, Stating, UsernameIndex, Written,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::proxy::Proxy;
use super::{NOW, dynamodb, endpoint};

const UNTIL: OffsetDateTime = datetime!(2026-01-01 09:10 UTC);

struct Table {
    proxy: Proxy,
    store: DynamoStore,
}

impl Table {
    async fn new() -> Self {
        let proxy = Proxy::to(&endpoint()).await;
        let store = dynamodb::table(&proxy.url()).await;
        Self { proxy, store }
    }

    /// Runs `call`, and loses the answer to one of its requests: the first that contains the string in the variable
    /// `operation`, such as the name of a DynamoDB operation.
    async fn losing<T>(&self, operation: &'static str, call: impl AsyncFnOnce(&DynamoStore) -> T) -> T {
        self.proxy.lose_answer_to(operation);
        let done = call(&self.store).await;
        assert!(self.proxy.has_lost_it(), "no answer to {operation} was lost");
        done
    }
}

fn user(number: u8) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

fn session() -> Session {
    super::session("ada")
}

async fn with_session() -> Table {
    let table = Table::new().await;
    table.store.insert(session()).await.unwrap();
    table
}

#[tokio::test]
async fn a_session_is_inserted_once() {
    let table = Table::new().await;
    for lost in [r#"{"S":"session_list#"#, r#""sk":{"S":"session"}"#] {
        let key = SessionKey::of(lost);
        table.losing(lost, async |store| store.insert(Session { key, ..session() }).await).await.unwrap();
    }
    let other = Session { key: SessionKey::of(r#""sk":{"S":"session"}"#), sealed: "v1.1.other".into(), ..session() };
    assert!(table.store.insert(other).await.is_err(), "somebody else's session is not replaced");
    assert_eq!(table.store.end_all_of(&user(1)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_lease_on_a_session_is_granted_to_the_one_who_asked() {
    let table = with_session().await;
    let key = session().key;
    let lease =
        table.losing("UpdateItem", async |store| Sessions::lease(store, &key, 0, NOW, UNTIL).await.unwrap()).await;
    assert_eq!(lease, Lease::Granted);
    assert_eq!(Sessions::lease(&table.store, &key, 0, NOW, UNTIL).await.unwrap(), Lease::Held, "at the same moment");
    table.losing("UpdateItem", async |store| Sessions::release(store, &key, 0, UNTIL).await.unwrap()).await;
    assert_eq!(Sessions::lease(&table.store, &key, 0, NOW, UNTIL).await.unwrap(), Lease::Granted);
}

#[tokio::test]
async fn refreshed_tokens_are_stored_once_and_only_ones_own() {
    let table = with_session().await;
    let key = session().key;
    let own = async |store: &DynamoStore| store.refreshed(&key, 0, "v1.1.next").await.unwrap();
    assert!(table.losing("UpdateItem", own).await);
    assert!(!table.store.refreshed(&key, 0, "v1.1.other").await.unwrap());
    let stored = table.store.get(&key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.sealed.as_str()), (1, "v1.1.next"));
}

#[tokio::test]
async fn a_use_and_an_end_of_a_session_are_stored() {
    let table = with_session().await;
    let key = session().key;
    table.losing("UpdateItem", async |store| store.touch(&session(), UNTIL).await.unwrap()).await;
    table.losing("UpdateItem", async |store| store.end_at(&key, UNTIL).await.unwrap()).await;
    let stored = table.store.get(&key).await.unwrap().unwrap();
    assert_eq!((stored.used_at, stored.ends_at), (UNTIL, UNTIL));
    table.losing("DeleteItem", async |store| store.end(&key).await.unwrap()).await;
    assert_eq!(table.store.get(&key).await.unwrap(), None);
    assert_eq!(table.store.end_all_of(&user(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_claim_is_granted_to_the_one_who_made_it() {
    let table = Table::new().await;
    assert!(table.losing("PutItem", async |store| store.claim("login", "1", NOW, UNTIL).await.unwrap()).await);
    assert!(!table.store.claim("login", "1", NOW, UNTIL).await.unwrap());
}

#[tokio::test]
async fn a_claim_for_a_holder_is_granted_to_the_holder() {
    let table = Table::new().await;
    let claim = async |store: &DynamoStore| store.claim_for(&["ada"], "token", "1", NOW, UNTIL).await.unwrap();
    assert!(table.losing("PutItem", claim).await);
    assert!(!table.store.claim_for(&["eve"], "token", "1", NOW, UNTIL).await.unwrap());
    assert!(table.losing("PutItem", claim).await);
}

/// If the SDK repeats a request that increments a counter, the counter grows by two. So a caller can reach a limit too
/// early, but never too late.
#[tokio::test]
async fn a_count_is_never_lost() {
    let table = Table::new().await;
    for (operation, counted) in [("PutItem", 2), ("UpdateItem", 4)] {
        let count = async |store: &DynamoStore| store.count("mint", &["ada"], NOW, Duration::MINUTE).await.unwrap();
        assert_eq!(table.losing(operation, count).await.times, counted, "{operation}");
    }
}

#[tokio::test]
async fn a_binding_is_made_and_removed() {
    let table = Table::new().await;
    let ada = Identity { issuer: "https://idp.example".into(), subject: "ada".into() };
    let bind = async |store: &DynamoStore| store.bind(&ada, &user(1), NOW).await.unwrap();
    assert_eq!(table.losing("TransactWriteItems", bind).await, Bound::Yes);
    table.losing("TransactWriteItems", async |store| store.unbind(&user(1)).await.unwrap()).await;
    assert_eq!(table.store.user_of(&ada).await.unwrap(), None);
}

#[tokio::test]
async fn a_person_is_written_once() {
    let table = Table::new().await;
    let id = PersonId::of([1; 16]);
    let person = Person { flex_user_sid: Some(user(1)), ..Person::new(id, "ada".parse().unwrap()) };
    let add = async |store: &DynamoStore| store.add(&person, None).await.unwrap();
    assert_eq!(table.losing("TransactWriteItems", add).await, Written::Yes(1));
    let (source, statement) = (Source::Api, Statement::default());
    let stating = Stating { source: &source, statement: &statement, subject: None, given: None };
    let state = async |store: &DynamoStore| store.state(id, 1, stating).await.unwrap();
    assert_eq!(table.losing("TransactWriteItems", state).await, Written::Yes(2));
    let (given, username) = (Given::default(), "ada".parse().unwrap());
    let noting = Noting { given: &given, flex_user_sid: None, username: &username };
    let note = async |store: &DynamoStore| store.note(id, 2, noting).await.unwrap();
    assert_eq!(table.losing("TransactWriteItems", note).await, Written::Yes(3));
    assert_eq!(table.store.note(id, 2, noting).await.unwrap(), Written::Moved);
    assert_eq!(table.store.person(&PersonKey::Id(id)).await.unwrap().unwrap().version, 3);
}

#[tokio::test]
async fn a_lease_on_a_person_is_granted_and_released_once() {
    let table = Table::new().await;
    let id = PersonId::of([1; 16]);
    table.store.add(&Person::new(id, "ada".parse().unwrap()), None).await.unwrap();
    let lease = table.losing("UpdateItem", async |store| People::lease(store, id, 7, NOW, UNTIL).await.unwrap()).await;
    assert!(matches!(lease, PersonLease::Granted { .. }));
    assert!(matches!(People::lease(&table.store, id, 8, NOW, UNTIL).await.unwrap(), PersonLease::Held(_)));
    assert!(table.losing("UpdateItem", async |store| People::release(store, id, 7, Some(1)).await.unwrap()).await);
    assert!(!People::release(&table.store, id, 8, Some(1)).await.unwrap(), "holder 8 never had the lease");
    assert_eq!(
        People::lease(&table.store, id, 8, NOW, UNTIL).await.unwrap(),
        PersonLease::Granted { taken_over: false },
        "the release counts"
    );
    assert!(!People::release(&table.store, id, 8, Some(2)).await.unwrap(), "the person has another version");
}

#[tokio::test]
async fn scim_data_is_written_once() {
    let table = Table::new().await;
    let work = Work { name: "create ada".to_owned(), holder: 7 };
    let begin = async |store: &DynamoStore| store.begin(&work, NOW, UNTIL).await.unwrap();
    assert!(matches!(table.losing("UpdateItem", begin).await, Begun::Yes { .. }));
    assert!(table.losing("UpdateItem", async |store| store.intend(&work).await.unwrap()).await);
    let mut entry = Entry {
        id: user(1),
        current: user(1),
        username: "ada".parse().unwrap(),
        external_id: Some("00u1".to_owned()),
        asserted: serde_json::Map::new(),
        deleted: false,
        version: 0,
        updated_at: NOW,
    };
    let put = async |store: &DynamoStore| store.put_entry(&entry, Some(&work)).await.unwrap();
    assert!(table.losing("TransactWriteItems", put).await);
    assert!(!table.store.put_entry(&entry, None).await.unwrap());
    entry.version = 1;
    assert!(table.store.put_entry(&entry, None).await.unwrap());

    let group = Group {
        id: "fggrp_1".to_owned(),
        display_name: "Leads".to_owned(),
        external_id: None,
        members: vec![Member { user: user(1), present: true, announced: None }],
        version: 0,
        created_at: NOW,
        updated_at: NOW,
    };
    let put = async |store: &DynamoStore| store.put_group(&group).await.unwrap();
    assert_eq!(table.losing("TransactWriteItems", put).await, GroupWritten::Yes);
    assert_eq!(table.store.put_group(&group).await.unwrap(), GroupWritten::Moved);

    table.store.begin(&work, NOW, UNTIL).await.unwrap();
    table.losing("UpdateItem", async |store| store.abandon(&work).await.unwrap()).await;
    table.store.begin(&work, NOW, UNTIL).await.unwrap();
    table.losing("DeleteItem", async |store| store.finish(&work).await.unwrap()).await;
    let other = Work { holder: 8, ..work };
    assert_eq!(table.store.begin(&other, NOW, UNTIL).await.unwrap(), Begun::Yes { intended: false });
}

#[tokio::test]
async fn a_user_is_seen_and_a_walk_finished() {
    let table = Table::new().await;
    let username: flexgate::domain::Username = "ada".parse().unwrap();
    let seen = SeenUser { key: username.key(), username, flex_user_sid: user(1), active: true };
    let put = async |store: &DynamoStore| store.put_seen(std::slice::from_ref(&seen), NOW).await.unwrap();
    table.losing("PutItem", put).await;
    table.losing("PutItem", async |store| store.finish_walk(NOW).await.unwrap()).await;
    assert_eq!(table.store.seen(&seen.key).await.unwrap(), [seen]);
}
