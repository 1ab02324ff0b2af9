//! Tests that the store returns people and statements exactly as they were written.

use std::collections::{BTreeMap, BTreeSet};

use flexgate::domain::ledger::{Given, Person, Repairs, Said, Source, Statement};
use flexgate::domain::{Email, EventId, FullName, Moment, Role, WorkerAttributes};
use flexgate::store::{Noting, PersonKey, Stating, Written};
use proptest::collection::{btree_map, btree_set};
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::{NOW, by_name, by_sid, by_subject, id, person, says_active, sid, source, store};

fn moment() -> impl Strategy<Value = Moment> {
    let (first, last) = (datetime!(0001-01-01 00:00 UTC), datetime!(9999-12-31 23:59:59.999_999_999 UTC));
    let at = first.unix_timestamp_nanos()..=last.unix_timestamp_nanos();
    (at, any::<bool>(), "\\PC{1,64}").prop_map(|(at, deactivates, id)| Moment {
        at: OffsetDateTime::from_unix_timestamp_nanos(at).unwrap(),
        deactivates,
        id: id.parse().unwrap(),
    })
}

fn said<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Said<T>>> {
    of((moment(), value).prop_map(|(moment, value)| Said { moment, value }))
}

fn text() -> impl Strategy<Value = Box<str>> {
    any::<String>().prop_map(String::into_boxed_str)
}

fn email() -> impl Strategy<Value = Option<Email>> {
    of("[a-zé\"\\\\]{1,9}@[a-z]{1,9}".prop_map(|text| text.parse().unwrap()))
}

fn name() -> impl Strategy<Value = Option<FullName>> {
    // `\w` also matches some invisible characters, which a name must not contain. The filter drops the texts that
    // contain them.
    of("[\\w'\"]{1,40}".prop_filter_map("invisible", |text| text.parse().ok()))
}

fn attributes() -> impl Strategy<Value = WorkerAttributes> {
    let value =
        prop_oneof![any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(json!(0.5))];
    btree_map("[a-z]{1,9}\\.string", value, 0..4)
        .prop_filter_map("too large", |map| WorkerAttributes::try_from(Map::from_iter(map)).ok())
}

fn statement() -> impl Strategy<Value = Statement> {
    let access = (of(moment()), said(any::<bool>()), of(moment()));
    let memberships = btree_map(text(), (moment(), any::<bool>()), 0..4);
    let names = (said(email()), said(name()), said(name()), said(name()));
    let rest = (said(btree_set(text(), 0..4)), said(of(text())), said(of(attributes())), said(of(text())));
    (access, memberships, names, rest).prop_map(|(access, memberships, names, rest)| Statement {
        since: access.0,
        active: access.1,
        restored: access.2,
        memberships: memberships.into_iter().map(|(id, (moment, value))| (id, Said { moment, value })).collect(),
        roles: rest.0,
        email: names.0,
        full_name: names.1,
        given_name: names.2,
        family_name: names.3,
        locale: rest.1,
        attributes: rest.2,
        directory: rest.3,
    })
}

fn any_source() -> impl Strategy<Value = Source> {
    let id = || "[\\PC]{1,40}".prop_map(String::into_boxed_str);
    prop_oneof![
        Just(Source::Scim),
        id().prop_map(Source::ScimGroup),
        id().prop_map(Source::Claims),
        "[a-z0-9-]{1,32}".prop_map(|name| Source::Webhook(name.parse().unwrap())),
        Just(Source::Api),
        Just(Source::Operator),
    ]
}

#[test]
fn whatever_a_source_says_is_read_as_it_was_written() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(store());
    let mut expected = runtime.block_on(store.add(&Person::new(id(1), "ada".parse().unwrap())));
    let expected = std::cell::RefCell::new(&mut expected);
    let mut runner = TestRunner::new(Config::with_cases(48));
    let case = (any_source(), statement(), of("\\PC{1,64}"));
    let tried = runner.run(&case, |(source, statement, subject)| {
        let mut expected = expected.borrow_mut();
        let subject = subject.map(|subject| subject.parse().unwrap());
        let stating = Stating { source: &source, statement: &statement, subject: subject.as_ref(), given: None };
        let written = runtime.block_on(store.one.state(id(1), expected.version, stating)).unwrap();
        prop_assert_eq!(written, Written::Yes(expected.version + 1));
        expected.version += 1;
        expected.statements.insert(source.clone(), statement);
        if let Some(subject) = subject {
            expected.subjects.insert(source, subject);
        }
        prop_assert_eq!(&runtime.block_on(store.read(id(1))), &**expected);
        Ok(())
    });
    tried.unwrap();
}

#[tokio::test]
async fn a_person_is_added_whole_and_found_by_each_key() {
    let store = store().await;
    let mut ada = person(1, "Ada");
    let roles = [Role::Agent, Role::Admin].into();
    let attributes = json!({ "language.string": "en" }).as_object().cloned().unwrap().try_into().unwrap();
    ada.given = Given {
        roles,
        taken: [Role::Supervisor].into(),
        attributes: Some(attributes),
        settled_at: 7,
        taking_over: true,
        owner_since: Some(NOW),
        asked_since: Some(NOW),
        repairs: Repairs { count: 2, since: Some(NOW) },
    };
    ada.statements.insert(source("api"), says_active(true));
    let read = store.add(&ada).await;
    assert_eq!(read, Person { version: 1, ..ada });

    let keys = [PersonKey::Id(id(1)), by_name("Ada"), by_name("aDA"), by_sid(1), by_subject("webhook:okta", "u-1")];
    for key in &keys {
        assert_eq!(store.other.person(key).await.unwrap(), Some(read.clone()), "{key:?}");
    }
    assert_eq!(store.other.people(&keys).await.unwrap(), std::slice::from_ref(&read), "each once");
    let unknown = [PersonKey::Id(id(2)), by_name("eve"), by_sid(2), by_subject("webhook:okta", "u-2")];
    assert_eq!(store.other.people(&unknown).await.unwrap(), []);
    assert_eq!(store.other.people(&[]).await.unwrap(), []);
    assert_eq!(store.led_to(&by_subject("webhook:other", "u-1")).await, None, "that source has said nothing");
}

#[tokio::test]
async fn two_spellings_of_a_username_lead_to_one_person() {
    let store = store().await;
    store.add(&person(1, "Zo\u{e9}")).await;
    assert_eq!(store.led_to(&by_name("ZOE\u{301}")).await, Some(id(1)));
    assert_eq!(store.one.add(&person(2, "zoe\u{301}"), None).await.unwrap(), Written::Moved);
}

#[tokio::test]
async fn many_people_are_read_at_once() {
    let store = store().await;
    let mut keys = Vec::new();
    for number in 0..120 {
        store.add(&person(number, &format!("agent-{number}"))).await;
        keys.push(if number % 2 == 0 { by_sid(number) } else { PersonKey::Id(id(number)) });
    }
    let mut people = store.other.people(&keys).await.unwrap();
    people.sort_by_key(|person| person.id);
    assert_eq!(people.iter().map(|person| person.id).collect::<Vec<_>>(), (0..120).map(id).collect::<Vec<_>>());
    assert!(people.iter().all(|person| person.statements.len() == 1 && person.subjects.len() == 1));
}

#[tokio::test]
async fn a_source_keeps_its_subject_and_earlier_subjects_still_lead_to_the_person() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(false), None).await, Written::Yes(2));
    let ada = store.read(id(1)).await;
    assert_eq!(ada.subjects[&source("webhook:okta")].as_str(), "u-1", "the source named no subject this time");
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(true), Some("u-new")).await, Written::Yes(3));
    assert_eq!(store.read(id(1)).await.subjects[&source("webhook:okta")].as_str(), "u-new");
    for subject in ["u-1", "u-new"] {
        assert_eq!(store.led_to(&by_subject("webhook:okta", subject)).await, Some(id(1)), "{subject}");
    }
}

#[tokio::test]
async fn a_withdrawn_statement_stays_as_one_that_is_silent() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    let withdrawn = Statement::in_full(NOW, &"w".parse::<EventId>().unwrap());
    assert_eq!(store.state(&ada, "webhook:okta", &withdrawn, None).await, Written::Yes(2));
    let ada = store.read(id(1)).await;
    assert_eq!(ada.statements, BTreeMap::from([(source("webhook:okta"), withdrawn)]));
    assert!(ada.statements[&source("webhook:okta")].is_silent());
    assert_eq!(store.led_to(&by_subject("webhook:okta", "u-1")).await, Some(id(1)));
}

#[tokio::test]
async fn what_is_noted_is_kept_and_earlier_flex_users_still_lead_to_the_person() {
    let store = store().await;
    let mut ada = store.add(&person(1, "ada")).await;
    let given = Given { roles: [Role::Agent].into(), settled_at: 2, ..Given::default() };
    let (username, user) = ("ADA".parse().unwrap(), sid(9));
    let noting = Noting { given: &given, flex_user_sid: Some(&user), username: &username };
    assert_eq!(store.one.note(id(1), 1, noting).await.unwrap(), Written::Yes(2));
    (ada.given, ada.flex_user_sid, ada.username, ada.version) = (given, Some(user), username, 2);
    assert_eq!(store.read(id(1)).await, ada);
    assert_eq!(store.note(&ada, None).await, Written::Yes(3));
    let ada = store.read(id(1)).await;
    assert_eq!(ada.flex_user_sid, None);
    assert_eq!(store.note(&ada, Some(1)).await, Written::Yes(4), "the first one again");
    for key in [by_sid(1), by_sid(9), by_name("ada")] {
        assert_eq!(store.led_to(&key).await, Some(id(1)), "{key:?}");
    }
}

#[tokio::test]
async fn a_statement_and_what_it_takes_away_are_one_write() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    let given = Given { taken: [Role::Supervisor].into(), ..ada.given.clone() };
    let (okta, statement) = (source("webhook:okta"), says_active(true));
    let stating = Stating { source: &okta, statement: &statement, subject: None, given: Some(&given) };
    // If another process has written first, neither the statement nor `given` is written.
    assert_eq!(store.one.state(id(1), 7, stating).await.unwrap(), Written::Moved);
    assert_eq!(store.read(id(1)).await, ada);
    assert_eq!(store.one.state(id(1), 1, stating).await.unwrap(), Written::Yes(2));
    let read = store.read(id(1)).await;
    assert_eq!((&read.given, read.statements.contains_key(&okta)), (&given, true));
    // A statement without new values for `given` does not change `given`.
    assert_eq!(store.one.state(id(1), 2, Stating { given: None, ..stating }).await.unwrap(), Written::Yes(3));
    assert_eq!(store.read(id(1)).await.given, given);
}

#[tokio::test]
async fn a_time_that_cannot_be_read_again_is_not_written() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    let mut unreadable = says_active(true);
    unreadable.active.as_mut().unwrap().moment.at = datetime!(-0001-01-01 00:00 UTC);
    let (okta, subject) = (source("webhook:okta"), "u-1".parse().unwrap());
    let stating = Stating { source: &okta, statement: &unreadable, subject: None, given: None };
    store.one.state(id(1), 1, stating).await.unwrap_err();
    store.one.keep_unattached(&okta, &subject, &unreadable).await.unwrap_err();
    let mut eve = person(2, "eve");
    eve.statements.insert(okta.clone(), unreadable);
    store.one.add(&eve, None).await.unwrap_err();
    assert_eq!(store.read(id(1)).await, ada);
    assert_eq!(store.led_to(&by_name("eve")).await, None);
    assert_eq!(store.other.unattached(&okta, &subject).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_said_of_nobody_yet_is_kept_for_each_source_and_subject() {
    let store = store().await;
    let (okta, other, subject) = (source("webhook:okta"), source("webhook:other"), "u-1".parse().unwrap());
    for active in [true, false] {
        store.one.keep_unattached(&okta, &subject, &says_active(active)).await.unwrap();
        assert_eq!(store.other.unattached(&okta, &subject).await.unwrap(), Some(says_active(active)));
    }
    assert_eq!(store.other.unattached(&other, &subject).await.unwrap(), None);
    assert_eq!(store.other.unattached(&okta, &"u-2".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.led_to(&by_subject("webhook:okta", "u-1")).await, None, "it is no person");
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.led_to(&by_subject("webhook:okta", "u-1")).await, Some(ada.id));
}

#[tokio::test]
async fn a_statement_of_many_memberships_is_kept() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    let ended = |number: u32| {
        let said = Said::access(NOW, &format!("{number:064}").parse().unwrap(), number.is_multiple_of(3));
        (format!("group-{number:030}").into_boxed_str(), said)
    };
    let roles: BTreeSet<Box<str>> = ["agent".into()].into();
    let statement = Statement {
        memberships: (0..1_000).map(ended).collect(),
        roles: Some(Said::new(NOW, &"r".parse().unwrap(), roles)),
        ..Statement::default()
    };
    assert_eq!(store.state(&ada, "webhook:okta", &statement, None).await, Written::Yes(2));
    assert_eq!(store.read(id(1)).await.statements[&source("webhook:okta")], statement);
}
