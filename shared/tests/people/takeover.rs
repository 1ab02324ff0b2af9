//! Tests what the store writes when one person takes over another person's username.

use flexgate::domain::ledger::Person;
use flexgate::store::{PersonKey, Written};

use super::{NOW, WRITERS, by_name, by_sid, by_subject, id, person, says_active, source, store};

/// Returns the person who takes over the username of `old`. The new person's id at the source `okta` is `u-{number}`.
fn successor(old: &Person, number: u8) -> Person {
    let subjects = [(source("webhook:okta"), format!("u-{number}").parse().unwrap())].into();
    let statements = [(source("webhook:okta"), says_active(true))].into();
    Person { subjects, statements, ..old.successor(id(number), NOW) }
}

#[tokio::test]
async fn whoever_takes_a_username_over_has_it_and_the_flex_user_and_the_earlier_person_neither() {
    let store = store().await;
    let ada = store.add(&person(1, "Ada")).await;
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(false), None).await, Written::Yes(2));
    let ada = store.read(id(1)).await;
    let new = successor(&ada, 2);
    assert_eq!(store.one.add(&new, Some(&ada)).await.unwrap(), Written::Yes(1));
    assert_eq!(store.read(id(2)).await, Person { version: 1, ..new });
    for key in [by_name("ada"), by_sid(1), by_subject("webhook:okta", "u-2")] {
        assert_eq!(store.led_to(&key).await, Some(id(2)), "{key:?}");
    }
    // The sources' statements about the earlier person stay with that person.
    assert_eq!(store.led_to(&by_subject("webhook:okta", "u-1")).await, Some(id(1)));
    let expected = Person { superseded: true, flex_user_sid: None, version: 3, ..ada.clone() };
    assert_eq!(store.read(id(1)).await, expected);
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(true), None).await, Written::Moved);
    assert_eq!(store.note(&expected, Some(1)).await, Written::Moved, "the Flex user is another person's");
    let superseded_still = store.note(&expected, None).await;
    assert_eq!((superseded_still, store.read(id(1)).await.superseded), (Written::Yes(4), true));
}

#[tokio::test]
async fn a_subject_that_is_taken_over_is_no_longer_the_earlier_persons() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.state(&ada, "scim", &says_active(true), Some("s-1")).await, Written::Yes(2));
    let ada = store.read(id(1)).await;
    let new = successor(&ada, 1);
    let new = Person { id: id(2), ..new };
    assert_eq!(store.one.add(&new, Some(&ada)).await.unwrap(), Written::Yes(1));
    assert_eq!(store.led_to(&by_subject("webhook:okta", "u-1")).await, Some(id(2)));
    let ada = store.read(id(1)).await;
    assert_eq!(ada.subjects, [(source("scim"), "s-1".parse().unwrap())].into());
    assert_eq!(ada.statements.len(), 2, "what was said of them is kept");
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(true), Some("u-1")).await, Written::Moved);
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(true), None).await, Written::Yes(4));
    assert_eq!(store.led_to(&by_subject("webhook:okta", "u-1")).await, Some(id(2)));
}

#[tokio::test]
async fn whoever_lost_a_username_may_begin_anew_under_another_one() {
    let store = store().await;
    let ada = store.add(&person(1, "ada")).await;
    assert_eq!(store.state(&ada, "webhook:okta", &says_active(false), Some("u-1")).await, Written::Yes(2));
    let ada = store.read(id(1)).await;
    assert_eq!(store.one.add(&successor(&ada, 2), Some(&ada)).await.unwrap(), Written::Yes(1));
    let lost = store.read(id(1)).await;
    let subjects = [(source("webhook:okta"), "u-1".parse().unwrap())].into();
    let statements = [(source("webhook:okta"), says_active(true))].into();
    let anew = Person { subjects, statements, ..Person::new(id(3), "countess".parse().unwrap()) };
    assert_eq!(store.one.add(&anew, Some(&lost)).await.unwrap(), Written::Yes(1));
    for (key, owner) in [(by_subject("webhook:okta", "u-1"), 3), (by_name("countess"), 3), (by_name("ada"), 2)] {
        assert_eq!(store.led_to(&key).await, Some(id(owner)), "{key:?}");
    }
}

#[tokio::test]
async fn nobody_takes_over_what_a_third_person_has_or_from_nobody() {
    let store = store().await;
    let (ada, eve) = (store.add(&person(1, "ada")).await, store.add(&person(3, "eve")).await);
    let unknown = successor(&ada, 2);
    let nobody = Person { id: id(9), ..ada.clone() };
    assert_eq!(store.one.add(&unknown, Some(&nobody)).await.unwrap(), Written::Moved);
    let fresh = person(2, "grace");
    assert_eq!(store.one.add(&fresh, Some(&nobody)).await.unwrap(), Written::Moved, "there is nobody to replace");
    let third = successor(&ada, 3);
    assert_eq!(store.one.add(&Person { id: id(2), ..third }, Some(&ada)).await.unwrap(), Written::Moved);
    assert_eq!((store.read(id(1)).await, store.read(id(3)).await), (ada, eve));
    assert_eq!(store.led_to(&PersonKey::Id(id(2))).await, None);
    assert_eq!(store.led_to(&by_name("grace")).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_who_take_a_username_over_one_wins() {
    let store = store().await;
    let ada = store.add(&person(100, "ada")).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let process = if number % 2 == 0 { &store.one } else { &store.other }.clone();
            let (new, ada) = (successor(&ada, number), ada.clone());
            tokio::spawn(async move { process.add(&new, Some(&ada)).await.unwrap() })
        })
        .collect();
    let mut won = Vec::new();
    for (number, writer) in (0..).zip(writers) {
        if writer.await.unwrap() != Written::Moved {
            won.push(id(number));
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    for key in [by_name("ada"), by_sid(100)] {
        assert_eq!(store.led_to(&key).await, Some(won[0]), "{key:?}");
    }
    let ada = store.read(id(100)).await;
    assert_eq!((ada.superseded, ada.version), (true, 2));
    assert_eq!(store.other.page(None, 50).await.unwrap().len(), 2);
}

#[tokio::test]
async fn nobody_takes_over_from_somebody_who_has_come_back_in_between() {
    let store = store().await;
    let left = Person { statements: [(source("webhook:okta"), says_active(false))].into(), ..person(1, "ada") };
    let left = store.add(&left).await;
    assert_eq!(store.state(&left, "webhook:okta", &says_active(true), None).await, Written::Yes(2));
    let new = successor(&left, 2);
    assert_eq!(store.one.add(&new, Some(&left)).await.unwrap(), Written::Moved);
    assert!(!store.read(id(1)).await.superseded);
    assert_eq!((store.led_to(&by_name("ada")).await, store.led_to(&PersonKey::Id(id(2))).await), (Some(id(1)), None));
}
