//! Tests that a person who is inactive in the people ledger cannot sign in, even if Twilio's SSO reactivates the Flex
//! user (case R92 of the attack register).

use flexgate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use flexgate::domain::{EventId, FlexUserSid};
use flexgate::store::{Lane, Message, Stating, Written};
use flexgate_sso::Settings;
use time::Duration;

use flexgate_test_support::World;

use crate::{SESSION, fresh, signed_in};

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
    // The ledger contains `ADA`, and the person signs in as `ada`. The ledger treats both spellings as one person.
    let mut person = Person::new(PersonId::of([1; 16]), "ADA".parse().unwrap());
    person.statements.insert(Source::Scim, said(false, 1));
    assert_eq!(people.add(&person, None).await.unwrap(), Written::Yes(1));

    let count = || {
        let db = rusqlite::Connection::open(world.store_path()).unwrap();
        db.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let reply = browser.sign_in(&world, "ada").await;
    assert_eq!(reply.problem(), (403, "login_refused".into()), "{}", reply.text);
    assert_eq!(count(), 0);
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

/// What a source says about access.
fn access(world: &World, id: u128, active: bool) -> Statement {
    let active = Said::access(world.clock_rng().now(), &EventId::from(id), active);
    Statement { active: Some(active), ..Statement::default() }
}

pub async fn leaves(world: &World, username: &str, sid: Option<FlexUserSid>) {
    let mut reader = world.reader();
    let settings = Settings::read(&mut reader);
    let platform = world.platform(&reader.finish(settings).unwrap().common);
    let mut person = Person::new(PersonId::of([1; 16]), username.parse().unwrap());
    person.flex_user_sid = sid;
    person.statements.insert(Source::Scim, access(world, 1, false));
    assert_eq!(platform.people().add(&person, None).await.unwrap(), Written::Yes(1));
}

/// The ledger contains only the statement that the person has left. It does not contain the person's Flex user.
#[tokio::test]
async fn r92_a_running_session_of_a_leaver_is_not_refreshed() {
    let (world, mut browser) = signed_in().await;
    let mut elsewhere = flexgate_test_support::Browser::new(crate::process(&world));
    assert_eq!(elsewhere.sign_in(&world, "ada").await.status, 303);
    leaves(&world, "ada", None).await;
    world.advance(Duration::minutes(57)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    assert_eq!(crate::refreshes(&world).await, 0);
    assert_eq!(elsewhere.call("/sso/token").await.problem(), (401, "not_signed_in".into()), "all sessions end");
}

#[tokio::test]
async fn r92_a_leaver_is_known_by_the_flex_user_too_and_their_token_is_not_vouched_for() {
    let (world, mut browser) = signed_in().await;
    let token = browser.call("/sso/token").await.is(200);
    leaves(&world, "renamed", Some(token["flex_user_sid"].as_str().unwrap().parse().unwrap())).await;
    let body = serde_json::json!({ "token": token["access_token"] }).to_string();
    let request = http::Request::post("/sso/validate").header("content-type", "application/json");
    let reply = browser.send(request.body(axum::body::Body::from(body)).unwrap()).await;
    assert_eq!(reply.problem(), (401, "flex_token_invalid".into()));
    let mut again = flexgate_test_support::Browser::new(crate::process(&world));
    assert_eq!(again.sign_in(&world, "ada").await.problem(), (403, "login_refused".into()));
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()), "all sessions end");
}
