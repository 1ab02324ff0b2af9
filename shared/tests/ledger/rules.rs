//! Tests the rules of reconciliation: what Flexgate writes and when, and how it handles crashes, races and SIDs that
//! have changed.

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use flexgate::domain::{EventId, Role, Username};
use flexgate::store::{PersonKey, PersonLease};
use flexgate::users::ledger::{Earlier, LedgerError, News, Outcome};
use flexgate_simulator::Reactivation;
use serde_json::json;
use time::Duration;

use crate::fixture::{Fixture, GROUPS, deadline};

pub fn name(text: &str) -> Username {
    text.parse().unwrap()
}

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

/// Returns a statement from the source `from` about the person with this username. If `active` is `None`, the statement
/// mentions only roles.
pub fn news(from: &str, username: &str, active: Option<bool>, roles: &[&str]) -> News {
    let (at, id) = (SystemClock.now(), EventId::from(3));
    News {
        source: source(from),
        subject: None,
        identity: None,
        username: Some(name(username)),
        flex_user_sid: None,
        statement: Statement {
            active: active.map(|active| Said::access(at, &id, active)),
            roles: Some(Said::new(at, &id, roles.iter().map(|&role| role.into()).collect())),
            full_name: Some(Said::new(at, &id, Some("Ada Lovelace".parse().unwrap()))),
            ..Statement::default()
        },
        earlier: Earlier::Everything,
    }
}

impl Fixture {
    async fn person(&self, username: &str) -> Option<Person> {
        self.platform.people().person(&PersonKey::Username(name(username).key())).await.unwrap()
    }

    async fn roles(&self, username: &str) -> Vec<String> {
        let user = self.flex(&name(username)).await.unwrap();
        user.roles.unwrap().names().into_iter().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn what_is_said_and_what_is_given_is_written_before_anything_is_sent() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.provision_fails().await;
    let supervisor = news("api", "ada@example.com", Some(true), &["supervisor"]);
    assert!(matches!(fixture.state(&supervisor).await, Err(LedgerError::Twilio(_))));
    let person = fixture.person("ada@example.com").await.unwrap();
    assert!(person.given.roles.contains(&Role::Supervisor), "{:?}", person.given);
    assert!(!person.is_settled());
    assert_eq!(fixture.roles("ada@example.com").await, ["agent"]);
    // The next reconciliation completes the change. The source does not have to repeat its statement.
    fixture.world.no_faults().await;
    let report = fixture.ledger.reconcile(person.id, deadline()).await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Updated);
    assert_eq!(fixture.roles("ada@example.com").await, ["supervisor"]);
}

#[tokio::test]
async fn an_answer_that_is_lost_changes_nothing_twice() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
    let supervisor = news("api", "ada@example.com", Some(true), &["supervisor"]);
    assert!(fixture.state(&supervisor).await.is_err());
    fixture.world.no_faults().await;
    assert_eq!(fixture.roles("ada@example.com").await, ["supervisor"]);
    let person = fixture.person("ada@example.com").await.unwrap();
    let report = fixture.ledger.reconcile(person.id, deadline()).await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
    // When the source stops naming the role, Flexgate removes the role.
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    assert_eq!(fixture.roles("ada@example.com").await, ["agent"]);
}

#[tokio::test]
async fn a_statement_that_is_refused_leaves_nothing_behind() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.state(&news("operator", "ada@example.com", Some(false), &[])).await.unwrap();
    let before = fixture.person("ada@example.com").await.unwrap();
    let again = news("api", "ada@example.com", Some(true), &["supervisor"]);
    assert!(matches!(fixture.state(&again).await, Err(LedgerError::InactiveBy(Source::Operator))));
    assert_eq!(fixture.person("ada@example.com").await.unwrap(), before);

    fixture.at_twilio("chief", &["admin"]).await;
    let sid = fixture.flex(&name("chief")).await.unwrap().flex_user_sid;
    let leaves = News { flex_user_sid: Some(sid), ..news("api", "chief", Some(false), &[]) };
    assert!(matches!(fixture.state(&leaves).await, Err(LedgerError::LastAdmin)));
    assert_eq!(fixture.person("chief").await, None);
    assert!(fixture.flex(&name("chief")).await.unwrap().is_active());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_meanwhile_is_heard_by_the_one_who_has_the_lease() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let sid = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    let one = async {
        for round in 0..10 {
            let roles: &[&str] = if round % 2 == 0 { &["supervisor"] } else { &["agent"] };
            fixture.state(&news("api", "ada@example.com", Some(true), roles)).await.unwrap();
        }
    };
    let other = async {
        for round in 0..10 {
            fixture.member(GROUPS[round % 2], &sid, round < 9).await;
        }
    };
    let third = async {
        for round in 0..10 {
            let operator = news("operator", "ada@example.com", None, if round < 9 { &["supervisor"] } else { &[] });
            let operator = News { flex_user_sid: Some(sid.clone()), ..operator };
            fixture.state(&operator).await.unwrap();
        }
    };
    tokio::join!(one, other, third);
    // At the end, the API says that ada is an agent, and the operator gives no role. She is a member of only one group,
    // which makes her a supervisor.
    assert_eq!(fixture.roles("ada@example.com").await, ["agent", "supervisor"]);
    fixture.member(GROUPS[0], &sid, false).await;
    assert_eq!(fixture.roles("ada@example.com").await, ["agent"]);
}

#[tokio::test]
async fn a_person_is_not_a_sid() {
    let fixture = Fixture::start().await;
    // A source may make a statement about a person who has no Flex user yet.
    fixture.state(&news("operator", "ada@example.com", Some(false), &[])).await.unwrap();
    let person = fixture.person("ada@example.com").await.unwrap();
    assert_eq!((person.flex_user_sid.clone(), fixture.flex(&name("ada@example.com")).await), (None, None));
    let refused = fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await;
    assert!(matches!(refused, Err(LedgerError::Attachment(_))), "{refused:?}");
    fixture.state(&news("operator", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let first = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    assert_eq!(fixture.person("ada@example.com").await.unwrap().id, person.id);
    // Twilio may give a user another SID when it reactivates the user.
    fixture.world.simulator.switch(|switches| {
        switches.provision_reactivates = Reactivation::NewSid;
    });
    for active in [false, true] {
        fixture.state(&news("operator", "ada@example.com", Some(active), &["agent"])).await.unwrap();
    }
    let now = fixture.person("ada@example.com").await.unwrap();
    assert_eq!(now.id, person.id);
    assert_ne!(now.flex_user_sid.as_ref(), Some(&first));
    for sid in [&first, now.flex_user_sid.as_ref().unwrap()] {
        let found = fixture.platform.people().person(&PersonKey::FlexUser(sid.clone())).await.unwrap();
        assert_eq!(found.unwrap().id, person.id);
    }
}

#[tokio::test]
async fn a_lease_is_waited_for_and_one_that_has_expired_is_taken_over() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let person = fixture.person("ada@example.com").await.unwrap();
    let (people, now) = (fixture.platform.people(), SystemClock.now());
    let held = people.lease(person.id, 7, now, now + Duration::seconds(4)).await.unwrap();
    assert!(matches!(held, PersonLease::Granted { .. }));
    let busy = fixture.ledger.reconcile(person.id, deadline()).await;
    assert!(matches!(busy, Err(LedgerError::Busy(_))), "{busy:?}");
    // This call waits until the lease expires, just as it would if the process that holds the lease had died.
    let report = fixture.ledger.reconcile(person.id, deadline()).await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn nobody_is_touched_of_whom_no_source_has_spoken() {
    let fixture = Fixture::start().await;
    fixture.at_twilio("stranger", &["supervisor"]).await;
    let sid = fixture.flex(&name("stranger")).await.unwrap().flex_user_sid;
    fixture.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    assert_eq!(fixture.roles("stranger").await, ["supervisor"]);
    assert_eq!(
        fixture.ledger.reconcile(PersonId::of([9; 16]), deadline()).await.unwrap().map(|report| report.outcome),
        None
    );
}
