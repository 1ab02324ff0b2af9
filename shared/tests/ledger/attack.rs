//! Regression tests for bugs in the ledger. These bugs occurred when Twilio's answer was lost during a takeover, and
//! when the ledger refused a statement.

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId, Identity, Role};
use flexgate::users::ledger::{Earlier, LedgerError, News};
use serde_json::json;

use crate::fixture::{Fixture, GROUPS, deadline};
use crate::rules::{name, news};
use crate::sweep::has_a_queue;

fn new(username: &str, roles: &[&str]) -> News {
    let user = DesiredUser {
        username: name(username),
        email: "new@example.com".parse().unwrap(),
        full_name: "Ada the Second".parse().unwrap(),
        roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        worker_attributes: None,
    };
    let news = News::user(Source::Operator, user, SystemClock.now(), &EventId::from(7));
    News { earlier: Earlier::Nothing, ..news }
}

async fn hidden_and_lost(fixture: &Fixture) -> (Identity, flexgate::domain::FlexUserSid) {
    fixture.at_twilio("ada", &["supervisor"]).await;
    let sid = fixture.flex(&name("ada")).await.unwrap().flex_user_sid;
    let identity = Identity { issuer: "https://idp.example.com".into(), subject: "ada-the-first".into() };
    fixture.provisioning.bindings().bind(&identity, &sid, SystemClock.now()).await.unwrap();
    fixture.write_member(GROUPS[0], &sid, true).await;
    fixture.provisioning.flex().deprovision(&sid, deadline()).await.unwrap();
    fixture.world.switch(&json!({ "find_returns_deactivated": false })).await;
    fixture.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
    assert!(fixture.state(&new("ada", &["agent"])).await.is_err());
    fixture.world.no_faults().await;
    assert!(fixture.is_active("ada").await);
    (identity, sid)
}

async fn nothing_of_the_first(fixture: &Fixture, identity: &Identity) {
    for _ in 0..2 {
        fixture.sweep(None).await.unwrap();
        fixture.work().await;
    }
    let bound = fixture.provisioning.bindings().user_of(identity).await.unwrap();
    assert_eq!((fixture.roles_of("ada").await, bound), (vec!["agent".to_owned()], None));
}

#[tokio::test]
async fn r71_an_administrator_who_is_to_be_deactivated_does_not_count_as_the_other_one() {
    let fixture = Fixture::start().await;
    fixture.at_twilio("one", &["admin"]).await;
    fixture.at_twilio("two", &["admin"]).await;
    let mut sids = vec![];
    for who in ["one", "two"] {
        sids.push(fixture.flex(&name(who)).await.unwrap().flex_user_sid);
    }
    let end = |number: usize| News {
        flex_user_sid: Some(sids[number].clone()),
        ..news("api", ["one", "two"][number], Some(false), &[])
    };
    fixture.fault(json!({ "path_contains": "Deprovision", "kind": "status", "status": 503, "times": 0 })).await;
    drop(fixture.state(&end(0)).await);
    fixture.world.no_faults().await;
    let second = fixture.state(&end(1)).await;
    fixture.ledger.reconcile_member(&sids[0], None, deadline()).await.unwrap();
    assert!(matches!(second, Err(LedgerError::LastAdmin)), "{second:?}");
    assert!(!fixture.is_active("one").await);
}

#[tokio::test]
async fn a_role_made_by_hand_for_the_second_owner_stays() {
    let fixture = Fixture::start().await;
    fixture.at_twilio("ada", &["supervisor"]).await;
    let sid = fixture.flex(&name("ada")).await.unwrap().flex_user_sid;
    fixture.provisioning.flex().deprovision(&sid, deadline()).await.unwrap();
    fixture.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
    assert!(fixture.state(&new("ada", &["agent"])).await.is_err());
    fixture.world.no_faults().await;
    fixture.state(&new("ada", &["agent"])).await.unwrap();

    // An administrator makes the new owner a supervisor in the Console.
    let user = DesiredUser {
        username: name("ada"),
        email: "new@example.com".parse().unwrap(),
        full_name: "Ada the Second".parse().unwrap(),
        roles: [Role::Agent, Role::Supervisor].into(),
        worker_attributes: None,
    };
    fixture.provisioning.flex().provision(&user, deadline()).await.unwrap();
    fixture.sweep(None).await.unwrap();
    fixture.work().await;
    assert_eq!(fixture.roles_of("ada").await, ["agent", "supervisor"]);
}

#[tokio::test]
async fn r63_the_second_owner_keeps_the_username_and_her_binding() {
    let fixture = Fixture::start().await;
    fixture.at_twilio("ada", &["supervisor"]).await;
    let sid = fixture.flex(&name("ada")).await.unwrap().flex_user_sid;
    fixture.provisioning.flex().deprovision(&sid, deadline()).await.unwrap();
    fixture.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
    assert!(fixture.state(&new("ada", &["agent"])).await.is_err());
    fixture.world.no_faults().await;
    fixture.state(&new("ada", &["agent"])).await.unwrap();
    let sid = fixture.flex(&name("ada")).await.unwrap().flex_user_sid;
    let identity = Identity { issuer: "https://idp.example.com".into(), subject: "ada-the-second".into() };
    fixture.provisioning.bindings().bind(&identity, &sid, SystemClock.now()).await.unwrap();
    // This statement about the new owner is an ordinary one, without a takeover.
    fixture.state(&News { earlier: Earlier::Everything, ..new("ada", &["agent"]) }).await.unwrap();
    let bound = fixture.provisioning.bindings().user_of(&identity).await.unwrap();
    // A third person tries to take over the username.
    let third = fixture.state(&new("ada", &["supervisor"])).await;
    assert!(bound.is_some() && third.is_err(), "bound {bound:?}, third {:?}", third.map(|r| r.outcome));
}

#[tokio::test]
async fn a_refused_statement_binds_nobody_to_the_last_administrator() {
    let fixture = Fixture::start().await;
    fixture.at_twilio("chief", &["admin"]).await;
    let hr = |subject: &str, identity: Option<&str>| News {
        subject: Some(subject.parse().unwrap()),
        identity: identity
            .map(|subject| Identity { issuer: "https://idp.example.com".into(), subject: subject.into() }),
        ..news("webhook:hr", "chief", Some(true), &["agent"])
    };
    fixture.state(&hr("hr-1", None)).await.unwrap();
    let hr_source: Source = "webhook:hr".parse().unwrap();
    fixture.ledger.withdraw_source(&hr_source, &EventId::from(9), deadline, |_| {}).await.unwrap();
    let own = Identity { issuer: "https://idp.example.com".into(), subject: "chief".into() };
    let sid = fixture.flex(&name("chief")).await.unwrap().flex_user_sid;
    fixture.provisioning.bindings().bind(&own, &sid, SystemClock.now()).await.unwrap();
    let refused = fixture.state(&hr("hr-2", Some("hr-2"))).await;
    assert!(matches!(refused, Err(LedgerError::LastAdmin)));
    let identity = Identity { issuer: "https://idp.example.com".into(), subject: "hr-2".into() };
    let bound = fixture.provisioning.bindings().user_of(&identity).await.unwrap();
    assert_eq!(bound, None, "the identity whom the ledger refused is bound to the administrator's Flex user");
}

#[tokio::test]
async fn r63_a_hidden_user_whose_takeover_got_no_answer_is_finished_by_the_repetition() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    let (identity, _) = hidden_and_lost(&fixture).await;
    fixture.state(&new("ada", &["agent"])).await.unwrap();
    nothing_of_the_first(&fixture, &identity).await;
}

#[tokio::test]
async fn r63_or_by_the_sweep() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    let (identity, _) = hidden_and_lost(&fixture).await;
    nothing_of_the_first(&fixture, &identity).await;
}

#[tokio::test]
async fn r63_or_by_a_job() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    let (identity, sid) = hidden_and_lost(&fixture).await;
    fixture.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    nothing_of_the_first(&fixture, &identity).await;
}
