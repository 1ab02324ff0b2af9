//! Tests withdrawing all statements of a source that is no longer used. The withdrawal must not make anybody active. If
//! a withdrawal is interrupted, a second call must complete it.

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use flexgate::domain::{EventId, Username};
use flexgate::store::PersonKey;
use flexgate::users::ledger::{Earlier, News, Withdrawal};
use serde_json::json;

use crate::fixture::{Fixture, deadline};

fn hr() -> Source {
    "webhook:hr".parse().unwrap()
}

fn name(number: usize) -> String {
    format!("user{number}@example.com")
}

fn key(number: usize) -> PersonKey {
    PersonKey::Username(name(number).parse::<Username>().unwrap().key())
}

async fn says(fixture: &Fixture, source: Source, number: usize, active: bool, roles: &[&str]) {
    let (at, id) = (SystemClock.now(), EventId::from(3));
    let subject = matches!(source, Source::Webhook(_)).then(|| format!("hr-{number}").parse().unwrap());
    let news = News {
        source,
        subject,
        identity: None,
        username: Some(name(number).parse().unwrap()),
        flex_user_sid: None,
        statement: Statement {
            active: Some(Said::access(at, &id, active)),
            roles: Some(Said::new(at, &id, roles.iter().map(|&role| role.into()).collect())),
            full_name: Some(Said::new(at, &id, Some("Ada Lovelace".parse().unwrap()))),
            ..Statement::default()
        },
        earlier: Earlier::Everything,
    };
    fixture.state(&news).await.unwrap();
}

impl Fixture {
    async fn withdraw(&self) -> Withdrawal {
        self.ledger.withdraw_source(&hr(), &EventId::from(9), deadline, |_| {}).await.unwrap()
    }
}

#[tokio::test]
async fn whom_twilio_failed_for_is_brought_in_step_when_it_is_begun_again() {
    let fixture = Fixture::start().await;
    for number in 0..3 {
        says(&fixture, Source::Api, number, true, &["agent"]).await;
        says(&fixture, hr(), number, true, &["supervisor"]).await;
    }
    fixture.provision_fails().await;
    let done = fixture.withdraw().await;
    assert_eq!((done.people, done.failed.len()), (0, 3));
    let left = fixture.ledger.foresee_withdrawal(&hr(), deadline).await.unwrap();
    assert_eq!((left.people, left.unfinished, left.finished), (0, 3, 0));
    fixture.world.no_faults().await;
    let done = fixture.withdraw().await;
    assert_eq!((done.people, done.failed.len()), (3, 0));
    for number in 0..3 {
        assert_eq!(fixture.roles_of(&name(number)).await, ["agent"]);
    }
    let left = fixture.ledger.foresee_withdrawal(&hr(), deadline).await.unwrap();
    assert_eq!((left.people, left.unfinished, left.finished), (0, 0, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_while_it_runs_stays_inactive() {
    let fixture = Arc::new(Fixture::start().await);
    for number in 0..3 {
        says(&fixture, Source::Api, number, true, &["agent"]).await;
        says(&fixture, hr(), number, true, &["supervisor"]).await;
    }
    // Twilio delays its answer about the first person. Before this answer arrives, the withdrawal has read all three
    // people.
    fixture.fault(json!({ "path_contains": "Provision", "kind": "delay", "delay_ms": 2_000, "times": 1 })).await;
    let withdrawing = tokio::spawn({
        let fixture = fixture.clone();
        async move { fixture.withdraw().await }
    });
    let first = loop {
        let mut silent = Vec::new();
        for number in 0..3 {
            let person = fixture.platform.people().person(&key(number)).await.unwrap().unwrap();
            silent.extend(person.statements[&hr()].is_silent().then_some(number));
        }
        if let [first] = silent[..] {
            break first;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for number in (0..3).filter(|number| *number != first) {
        says(&fixture, hr(), number, false, &[]).await;
    }
    let done = withdrawing.await.unwrap();
    assert_eq!((done.people, done.failed.len()), (3, 0));
    for number in 0..3 {
        assert_eq!(fixture.is_active(&name(number)).await, number == first);
    }
    // The next reconciliation must not reactivate the two people who left during the withdrawal.
    for number in 0..3 {
        let person = fixture.platform.people().person(&key(number)).await.unwrap().unwrap();
        assert_eq!(person.inactive_by().next().is_none(), number == first);
        fixture.ledger.reconcile(person.id, deadline()).await.unwrap();
        assert_eq!(fixture.is_active(&name(number)).await, number == first);
    }
}

#[tokio::test]
async fn withdrawing_scim_also_withdraws_what_the_version_before_the_ledger_stored() {
    let fixture = Fixture::start().await;
    for who in ["ada", "grace"] {
        fixture.at_twilio(who, &["agent", "supervisor"]).await;
        let user = fixture.flex(&who.parse().unwrap()).await.unwrap().flex_user_sid;
        fixture.scim_entry(who, &user).await;
    }
    // The ledger has an entry for Ada, from another source, but none for Grace.
    says_ada_is_active(&fixture).await;
    let foreseen = fixture.ledger.foresee_withdrawal(&Source::Scim, deadline).await.unwrap();
    assert_eq!((foreseen.people, foreseen.losing_any), (2, 2));
    let withdrawn = fixture.ledger.withdraw_source(&Source::Scim, &EventId::from(9), deadline, |_| {}).await.unwrap();
    assert_eq!((withdrawn.people, withdrawn.failed.len()), (2, 0), "{withdrawn:?}");
    for who in ["ada", "grace"] {
        assert_eq!(fixture.roles_of(who).await, ["agent"], "{who}");
    }
    // A later sweep must not copy the withdrawn data into the ledger again.
    let swept = fixture.sweep(None).await.unwrap();
    assert_eq!((swept.queued, fixture.roles_of("grace").await), (0, vec!["agent".to_owned()]));
}

#[tokio::test]
async fn whom_the_withdrawal_of_scim_cannot_adopt_does_not_stop_it() {
    let fixture = Fixture::start().await;
    for who in ["ada", "grace"] {
        fixture.at_twilio(who, &["agent", "supervisor"]).await;
        let user = fixture.flex(&who.parse().unwrap()).await.unwrap().flex_user_sid;
        fixture.scim_entry(who, &user).await;
    }
    // The withdrawal must first copy Ada's old SCIM data into the ledger. It cannot, because another process holds the
    // lease on Ada.
    let (people, now) = (fixture.platform.people(), SystemClock.now());
    let user = fixture.flex(&"ada".parse().unwrap()).await.unwrap();
    let ada = Person::new(PersonId::of([1; 16]), user.username);
    people.add(&Person { flex_user_sid: Some(user.flex_user_sid), ..ada.clone() }, None).await.unwrap();
    people.lease(ada.id, 7, now, now + Duration::from_mins(10)).await.unwrap();
    let cause = EventId::from(9);
    let withdraw = || fixture.ledger.withdraw_source(&Source::Scim, &cause, deadline, |_| {});
    let withdrawn = withdraw().await.unwrap();
    assert_eq!((withdrawn.people, withdrawn.failed.len()), (1, 1), "{withdrawn:?}");
    assert_eq!(fixture.roles_of("grace").await, ["agent"]);
    people.release(ada.id, 7, None).await.unwrap();
    let withdrawn = withdraw().await.unwrap();
    assert_eq!((withdrawn.people, withdrawn.failed.len()), (1, 0), "{withdrawn:?}");
    assert_eq!(fixture.roles_of("ada").await, ["agent"]);
}

async fn says_ada_is_active(fixture: &Fixture) {
    let user = fixture.flex(&"ada".parse().unwrap()).await.unwrap().flex_user_sid;
    fixture
        .state(&News { flex_user_sid: Some(user), ..crate::rules::news("api", "ada", None, &["agent"]) })
        .await
        .unwrap();
}
