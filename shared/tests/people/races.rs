//! Tests concurrent writers: one of them must succeed, and the others must write nothing.

use std::sync::Arc;

use flexgate::domain::ledger::{Given, Said, Statement};
use flexgate::store::{Noting, PersonKey, Stating, Written};

use super::{Adapter, NOW, Store, WRITERS, by_name, by_sid, by_subject, id, person, says_active, sid, source, store};

/// Starts sixteen writers at once, half of them on each instance of the store. Returns the numbers of the successful
/// writers.
async fn race<W>(store: &Adapter, write: impl Fn(Arc<dyn Store>, u8) -> W) -> Vec<u8>
where
    W: Future<Output = Written> + Send + 'static,
{
    let begin = |number| {
        let process = if number % 2 == 0 { &store.one } else { &store.other };
        tokio::spawn(write(process.clone(), number))
    };
    let writers: Vec<_> = (0..WRITERS).map(begin).collect();
    let mut won = Vec::new();
    for (number, writer) in (0..).zip(writers) {
        match writer.await.unwrap() {
            Written::Yes(_) => won.push(number),
            Written::Moved => {}
        }
    }
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_state_over_one_version_one_wins() {
    let store = store().await;
    let ada = store.add(&person(100, "ada")).await;
    let statement = |number: u8| {
        let roles = [format!("role-{number}").into_boxed_str()].into();
        Statement { roles: Some(Said::new(NOW, &"e".parse().unwrap(), roles)), ..Statement::default() }
    };
    let won = race(&store, |process, number| async move {
        let (okta, statement) = (source("webhook:okta"), statement(number));
        let stating = Stating { source: &okta, statement: &statement, subject: None, given: None };
        process.state(id(100), 1, stating).await.unwrap()
    });
    let won = won.await;
    assert_eq!(won.len(), 1, "{won:?}");
    let read = store.read(ada.id).await;
    assert_eq!((read.version, &read.statements[&source("webhook:okta")]), (2, &statement(won[0])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_write_again_until_they_win_every_one_is_seen() {
    let store = store().await;
    store.add(&person(100, "ada")).await;
    let won = race(&store, |process, number| async move {
        let issuer = source(&format!("claims:https://{number}.example"));
        loop {
            let read = process.person(&PersonKey::Id(id(100))).await.unwrap().unwrap();
            let stating = Stating { source: &issuer, statement: &Statement::default(), subject: None, given: None };
            let written = process.state(id(100), read.version, stating).await.unwrap();
            if written != Written::Moved {
                return written;
            }
        }
    });
    assert_eq!(won.await.len(), usize::from(WRITERS));
    let read = store.read(id(100)).await;
    assert_eq!((read.version, read.statements.len()), (17, 17));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_add_the_same_username_one_wins() {
    let store = store().await;
    let won = race(&store, |process, number| async move { process.add(&person(number, "ada"), None).await.unwrap() });
    let won = won.await;
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(store.led_to(&by_name("ada")).await, Some(id(won[0])));
    for number in (0..WRITERS).filter(|number| *number != won[0]) {
        for key in [PersonKey::Id(id(number)), by_sid(number), by_subject("webhook:okta", &format!("u-{number}"))] {
            assert_eq!(store.led_to(&key).await, None, "{key:?}");
        }
    }
    assert_eq!(store.other.page(None, 50).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_write_over_an_earlier_version_writes_nothing() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.state(&ada, "api", &says_active(true), None).await, Written::Yes(2));
    let kept = store.read(id(1)).await;
    assert_eq!(store.state(&ada, "scim", &says_active(false), Some("s-1")).await, Written::Moved);
    assert_eq!(store.state(&ada, "api", &says_active(false), None).await, Written::Moved);
    assert_eq!(store.note(&ada, Some(9)).await, Written::Moved);
    assert_eq!(store.note(&ada, None).await, Written::Moved);
    assert_eq!(store.read(id(1)).await, kept);
    for key in [by_subject("scim", "s-1"), by_sid(9)] {
        assert_eq!(store.led_to(&key).await, None, "{key:?}");
    }
    assert!(!store.other.says_inactive(Some(&sid(1)), None).await.unwrap());
    // A write that expects a later version than the stored one writes nothing either.
    let ahead = flexgate::domain::ledger::Person { version: 3, ..kept.clone() };
    assert_eq!(store.state(&ahead, "api", &says_active(false), None).await, Written::Moved);
    assert_eq!(store.read(id(1)).await, kept);
}

#[tokio::test]
async fn nothing_is_written_of_a_person_who_is_not_there() {
    let store = store().await;
    let nobody = person(1, "ada");
    for version in [0, 1] {
        let nobody = flexgate::domain::ledger::Person { version, ..nobody.clone() };
        assert_eq!(store.state(&nobody, "scim", &says_active(true), Some("s-1")).await, Written::Moved);
        assert_eq!(store.note(&nobody, Some(1)).await, Written::Moved);
    }
    for key in [PersonKey::Id(id(1)), by_sid(1), by_subject("scim", "s-1")] {
        assert_eq!(store.led_to(&key).await, None, "{key:?}");
    }
    assert_eq!(store.one.add(&nobody, None).await.unwrap(), Written::Yes(1), "nothing is in the way");
}

#[tokio::test]
async fn a_person_who_is_there_is_not_added_again() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    let mut again = person(1, "eve");
    (again.flex_user_sid, again.subjects) = (Some(sid(2)), [].into());
    assert_eq!(store.one.add(&again, None).await.unwrap(), Written::Moved);
    assert_eq!(store.read(id(1)).await, ada);
    for key in [by_name("eve"), by_sid(2)] {
        assert_eq!(store.led_to(&key).await, None, "{key:?}");
    }
}

#[tokio::test]
async fn what_leads_to_somebody_else_is_theirs_and_nothing_is_written() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    // A new person is not stored if the username, the Flex user or the subject already belongs to Ada.
    let username = person(2, "ADA");
    let user = flexgate::domain::ledger::Person { flex_user_sid: Some(sid(1)), ..person(2, "eve") };
    let subject = flexgate::domain::ledger::Person { subjects: ada.subjects.clone(), ..person(2, "eve") };
    for new in [username, user, subject] {
        assert_eq!(store.one.add(&new, None).await.unwrap(), Written::Moved, "{new:?}");
        let keys = [PersonKey::Id(id(2)), by_name("eve"), by_sid(2), by_subject("webhook:okta", "u-2")];
        assert_eq!(store.other.people(&keys).await.unwrap(), [], "{new:?}");
        assert_eq!(store.read(id(1)).await, ada);
    }
    // A stored person cannot get Ada's subject or Flex user either.
    let eve = store.add(&person(2, "eve")).await;
    assert_eq!(store.state(&eve, "webhook:okta", &says_active(false), Some("u-1")).await, Written::Moved);
    assert_eq!(store.note(&eve, Some(1)).await, Written::Moved);
    assert_eq!((store.read(id(1)).await, store.read(id(2)).await), (ada, eve.clone()));
    for key in [by_sid(1), by_subject("webhook:okta", "u-1")] {
        assert_eq!(store.led_to(&key).await, Some(id(1)), "{key:?}");
    }
    assert!(!store.other.says_inactive(Some(&sid(2)), None).await.unwrap());
    // Different sources may use the same subject for different people. So Eve can get Ada's subject at another source.
    assert_eq!(store.state(&eve, "webhook:other", &says_active(true), Some("u-1")).await, Written::Yes(2));
    let given = Given::default();
    let (user, username) = (sid(2), "eve".parse().unwrap());
    let noting = Noting { given: &given, flex_user_sid: Some(&user), username: &username };
    assert_eq!(store.other.note(id(2), 2, noting).await.unwrap(), Written::Yes(3));
}
