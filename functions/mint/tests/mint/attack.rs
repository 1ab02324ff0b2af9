//! Faults that an attack on the ledger found, by way of minting.

use flexgate::base::clock_rng::Clock as _;
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId, Identity, Username};
use flexgate::store::PersonKey;
use flexgate::users::ledger::{Earlier, News};
use serde_json::json;

use crate::gate::Gate;

/// An operator gives the username to somebody else, while the previous owner still has a valid token. Asserts that this
/// token mints nothing, and that the new owner's does.
async fn the_previous_owners_token_is_refused(gate: &Gate, previous: &str) {
    let user = DesiredUser {
        username: "ada".parse().unwrap(),
        email: "second@example.com".parse().unwrap(),
        full_name: "Ada the Second".parse().unwrap(),
        roles: ["supervisor".parse().unwrap()].into(),
        worker_attributes: None,
    };
    let news = News::user(Source::Operator, user, gate.world.clock.now(), &EventId::from(7));
    let news = News { earlier: Earlier::Nothing, ..news };
    gate.ledger().state(&news, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
    let answer = gate.mint(previous, json!({})).await;
    let identity = |subject: &str| Identity { issuer: gate.world.simulator.issuer().into(), subject: subject.into() };
    let bound = gate.platform.bindings().user_of(&identity("ada-the-first")).await.unwrap();
    let second = gate.token_of("ada", json!({"sub": "ada-the-second"})).await;
    let own = gate.mint(&second, json!({})).await;
    assert_eq!((answer.status.as_u16(), own.status.as_u16(), bound), (403, 201, None));
}

#[tokio::test]
async fn r63_a_token_of_the_previous_owner_mints_nothing_for_the_next_owners_user() {
    let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", "create-and-sync")]).await;
    let first = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
    assert_eq!(gate.mint(&first, json!({})).await.status, 201);
    gate.operator_says_inactive("ada").await;
    the_previous_owners_token_is_refused(&gate, &first).await;
}

#[tokio::test]
async fn r63_nor_where_users_do_not_follow_claims() {
    for just_in_time in ["off", "create"] {
        let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", just_in_time)]).await;
        gate.world.at_twilio("ada", &["agent"]).await;
        let first = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
        assert_eq!(gate.mint(&first, json!({})).await.status, 201);
        gate.operator_says_inactive("ada").await;
        the_previous_owners_token_is_refused(&gate, &first).await;
    }
}

#[tokio::test]
async fn r63_nor_for_a_previous_owner_about_whom_no_source_said_anything() {
    let gate = Gate::start().await;
    let sid = gate.world.at_twilio("ada", &["agent"]).await;
    let first = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
    assert_eq!(gate.mint(&first, json!({})).await.status, 201);
    gate.world.deprovision_at_twilio(&sid).await;
    the_previous_owners_token_is_refused(&gate, &first).await;
}

#[tokio::test]
async fn r63_nor_for_one_who_was_bound_by_the_version_before() {
    let gate = Gate::start().await;
    let sid = gate.world.at_twilio("ada", &["agent"]).await;
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "ada-the-first".into() };
    gate.platform.bindings().bind(&identity, &sid.parse().unwrap(), gate.world.clock.now()).await.unwrap();
    let first = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
    assert_eq!(gate.mint(&first, json!({})).await.status, 201);
    gate.world.deprovision_at_twilio(&sid).await;
    the_previous_owners_token_is_refused(&gate, &first).await;
}

#[tokio::test]
async fn r63_a_mint_that_follows_no_claims_changes_nothing_that_the_ledger_says() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent", "supervisor"]).await;
    gate.api_says("ada", Some(true), Some(&["agent", "supervisor"])).await;
    let before = gate.world.twilio_user("ada").await;
    let token = gate.token_of("ada", json!({"roles": ["admin"], "name": "Somebody Else"})).await;
    assert_eq!(gate.mint(&token, json!({})).await.status, 201);
    assert_eq!(gate.world.twilio_user("ada").await, before);
    let key = PersonKey::Username("ada".parse::<Username>().unwrap().key());
    let person = gate.platform.people().person(&key).await.unwrap().unwrap();
    let claims = Source::Claims(gate.world.simulator.issuer().into());
    assert!(person.statements[&claims].is_silent() && person.is_settled());
    assert_eq!(person.subjects[&claims].as_str(), "sub-ada");
}
