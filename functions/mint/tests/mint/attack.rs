//! Faults that an attack on the ledger found, by way of minting.

use flexgate::base::clock_rng::Clock as _;
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId, Identity};
use flexgate::users::ledger::{Earlier, News};
use serde_json::json;

use crate::gate::Gate;

#[tokio::test]
async fn r63_a_token_of_the_previous_owner_mints_nothing_for_the_next_owners_user() {
    let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", "create-and-sync")]).await;
    let first = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
    assert_eq!(gate.mint(&first, json!({})).await.status, 201);
    // She leaves, and an operator gives the username to somebody else.
    gate.operator_says_inactive("ada").await;
    let user = DesiredUser {
        username: "ada".parse().unwrap(),
        email: "second@example.com".parse().unwrap(),
        full_name: "Ada the Second".parse().unwrap(),
        roles: ["supervisor".parse().unwrap()].into(),
        worker_attributes: None,
    };
    let news = News::user(Source::Operator, user, gate.clock.now(), &EventId::from(7));
    let news = News { earlier: Earlier::Nothing, ..news };
    gate.ledger().state(&news, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
    // The first still has her token.
    let answer = gate.mint(&first, json!({})).await;
    let identity = |subject: &str| Identity { issuer: gate.simulator.issuer().into(), subject: subject.into() };
    let bound = gate.platform.bindings().user_of(&identity("ada-the-first")).await.unwrap();
    let second = gate.token_of("ada", json!({"sub": "ada-the-second"})).await;
    let own = gate.mint(&second, json!({})).await;
    assert_eq!((answer.status.as_u16(), own.status.as_u16(), bound), (403, 201, None));
}
