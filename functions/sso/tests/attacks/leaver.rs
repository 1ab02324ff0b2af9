//! Case R92: a person who is inactive in the people ledger cannot sign in, even if Twilio's SSO reactivates the Flex
//! user.

use flexgate::domain::EventId;
use flexgate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use flexgate::store::{Lane, Message, Stating, Written};
use flexgate_sso::Settings;
use time::Duration;

use crate::{SESSION, fresh};

#[tokio::test]
async fn r92_a_leaver_gets_no_session_and_may_come_back_when_their_source_says_so() {
    let (world, mut browser) = fresh().await;
    let mut reader = world.reader();
    let settings = Settings::read(&mut reader);
    let platform = world.platform(&reader.finish(settings).unwrap().common);
    let people = platform.people();
    let said = |active, id: u128| {
        let active = Said::access(world.clock_rng().now(), &EventId::from(id), active);
        Statement { active: Some(active), ..Statement::default() }
    };
    // The username differs only in case, so the person is the same.
    let mut person = Person::new(PersonId::of([1; 16]), "ADA".parse().unwrap());
    person.statements.insert(Source::Scim, said(false, 1));
    assert_eq!(people.add(&person, None).await.unwrap(), Written::Yes(1));

    let reply = browser.sign_in(&world, "ada").await;
    assert_eq!(reply.problem(), (403, "login_refused".into()), "{}", reply.text);
    assert!(!browser.cookies.contains_key(SESSION));
    // Flexgate queues a job that deactivates the Flex user again. Several sign-in attempts queue only one job.
    assert_eq!(browser.sign_in(&world, "ada").await.status, 403);
    let (inbox, now) = (platform.inbox().unwrap(), world.clock_rng().now());
    let taken = inbox.take(Lane::Bulk, 10, now, now + Duration::MINUTE).await.unwrap();
    let jobs: Vec<Message> = taken.iter().map(|one| serde_json::from_str(&one.body).unwrap()).collect();
    let [Message::Reconcile { user, left: None, .. }] = &jobs[..] else { panic!("{jobs:?}") };
    assert!(user.as_str().starts_with("FU"), "{user}");

    let back = said(true, 2);
    let stating = Stating { source: &Source::Scim, statement: &back, subject: None, given: None };
    assert_eq!(people.state(person.id, 1, stating).await.unwrap(), Written::Yes(2));
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
}
