//! Tests how the sign-in function finds out that a person is inactive and must be refused.

use flexgate::domain::Username;
use flexgate::domain::ledger::{Person, Said, Statement};
use flexgate::store::Written;

use super::{Adapter, NOW, id, person, says_active, sid, source, store};

/// Asks the store whether the person is inactive, once by Flex user and once by username. Returns both answers.
async fn inactive(store: &Adapter, user: u8, name: &str) -> (bool, bool) {
    let (user, name) = (sid(user), name.parse::<Username>().unwrap().key());
    let by_user = store.other.says_inactive(Some(&user), None).await.unwrap();
    let by_name = store.other.says_inactive(None, Some(&name)).await.unwrap();
    let by_either = store.other.says_inactive(Some(&user), Some(&name)).await.unwrap();
    assert_eq!(by_either, by_user || by_name);
    (by_user, by_name)
}

#[tokio::test]
async fn a_person_is_inactive_while_any_source_says_so_by_flex_user_and_by_any_spelling_of_the_username() {
    let store = store().await;
    store.add(&person(1, "Zo\u{e9}")).await;
    assert_eq!(inactive(&store, 1, "zo\u{e9}").await, (false, false));
    let write = async |of, statement: &Statement| {
        let read = store.read(id(1)).await;
        assert_eq!(store.state(&read, of, statement, None).await, Written::Yes(read.version + 1));
    };
    write("operator", &says_active(false)).await;
    for spelling in ["Zo\u{e9}", "ZO\u{c9}", "zoe\u{301}"] {
        assert_eq!(inactive(&store, 1, spelling).await, (true, true), "{spelling}");
    }
    write("webhook:okta", &says_active(true)).await;
    assert_eq!(inactive(&store, 1, "zo\u{e9}").await, (true, true), "the operator has not lifted it");
    write("webhook:okta", &says_active(false)).await;
    write("operator", &Statement::in_full(NOW, &"w".parse().unwrap())).await;
    assert_eq!(inactive(&store, 1, "zo\u{e9}").await, (true, true), "the other source says so too");
    write("webhook:okta", &says_active(true)).await;
    assert_eq!(inactive(&store, 1, "zo\u{e9}").await, (false, false));
}

#[tokio::test]
async fn somebody_added_as_inactive_is_inactive_and_nobody_else_is() {
    let store = store().await;
    let mut ada = person(1, "ada");
    ada.statements.insert(source("scim"), says_active(false));
    store.add(&ada).await;
    store.add(&person(2, "eve")).await;
    assert_eq!(inactive(&store, 1, "ada").await, (true, true));
    assert_eq!(inactive(&store, 2, "eve").await, (false, false));
    assert_eq!(inactive(&store, 3, "nobody").await, (false, false));
    assert_eq!(inactive(&store, 2, "ada").await, (false, true), "either counts");
    assert_eq!(inactive(&store, 1, "eve").await, (true, false));
    assert!(!store.other.says_inactive(None, None).await.unwrap());
}

#[tokio::test]
async fn the_last_membership_that_ends_makes_inactive_and_a_note_changes_nothing() {
    let store = store().await;
    store.add(&person(1, "ada")).await;
    let membership = |active| Said::access(NOW, &"e".parse().unwrap(), active);
    for (first, second, expected) in [(true, true, false), (false, true, false), (false, false, true)] {
        let memberships = [("a".into(), membership(first)), ("b".into(), membership(second))].into();
        let statement = Statement { memberships, ..Statement::default() };
        let read = store.read(id(1)).await;
        assert_eq!(store.state(&read, "webhook:okta", &statement, None).await, Written::Yes(read.version + 1));
        assert_eq!(inactive(&store, 1, "ada").await, (expected, expected));
    }
    let read = store.read(id(1)).await;
    assert_eq!(store.note(&read, Some(1)).await, Written::Yes(read.version + 1));
    assert_eq!(inactive(&store, 1, "ada").await, (true, true));
}

#[tokio::test]
async fn groups_and_claims_make_nobody_inactive() {
    let store = store().await;
    let mut ada = person(1, "ada");
    ada.statements.insert(source("scim-group:g"), says_active(false));
    store.add(&ada).await;
    let read = store.read(id(1)).await;
    assert_eq!(store.state(&read, "claims:https://idp.example", &says_active(false), None).await, Written::Yes(2));
    assert_eq!(inactive(&store, 1, "ada").await, (false, false));
}

#[tokio::test]
async fn earlier_flex_users_of_somebody_inactive_are_inactive_too() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.note(&ada, Some(9)).await, Written::Yes(2));
    let ada = store.read(id(1)).await;
    assert_eq!(store.state(&ada, "api", &says_active(false), None).await, Written::Yes(3));
    assert_eq!(inactive(&store, 1, "ada").await, (true, true));
    assert_eq!(inactive(&store, 9, "ada").await, (true, true));
}

#[tokio::test]
async fn whoever_takes_a_username_over_is_not_inactive_because_the_earlier_person_is() {
    let store = store().await;
    let mut ada = person(1, "ada");
    ada.statements.insert(source("webhook:okta"), says_active(false));
    let ada = store.add(&ada).await;
    let new = Person { statements: [(source("api"), says_active(true))].into(), ..ada.successor(id(2), NOW) };
    assert_eq!(store.one.add(&new, Some(&ada)).await.unwrap(), Written::Yes(1));
    assert_eq!(inactive(&store, 1, "ada").await, (false, false));
}
