//! Regression tests for attacks on the people ledger through `POST /token`.

use flexgate::authn::LEEWAY;
use flexgate::base::clock_rng::Clock as _;
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId};
use flexgate::users::ledger::{Earlier, News};
use serde_json::json;

use crate::gate::{Gate, Minted as _};

const MODES: [&str; 3] = ["off", "create", "create-and-sync"];

/// Starts a minting function, creates the Flex user `ada`, and mints with a person's token, which binds the user to
/// that person. Returns the person's token.
async fn owned(just_in_time: &str) -> (Gate, String) {
    let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", just_in_time)]).await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let first = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
    assert_eq!(gate.mint(&first, json!({})).await.status, 201);
    (gate, first)
}

/// Writes an operator's statement about the user to the ledger. With `Earlier::Nothing`, the statement also says that
/// the username now belongs to another person.
async fn operator_says(gate: &Gate, username: &str, earlier: Earlier) {
    let user = DesiredUser {
        username: username.parse().unwrap(),
        email: "second@example.com".parse().unwrap(),
        full_name: "Ada the Second".parse().unwrap(),
        roles: ["supervisor".parse().unwrap()].into(),
        worker_attributes: None,
    };
    let news = News::user(Source::Operator, user, gate.world.clock.now(), &EventId::from(7));
    let news = News { earlier, ..news };
    gate.ledger().state(&news, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
}

/// Asserts that the new owner of the username can mint, and that the previous owner cannot. `first` is the previous
/// owner's token, issued in the same second as the change of owner.
async fn only_the_second_mints(gate: &Gate, username: &str, first: &str) {
    let answer = gate.mint(first, json!({})).await;
    // Wait, so that the next token is certainly issued after the change of owner. `iat` has whole seconds, and the
    // issuer's clock may be fast by up to `LEEWAY`.
    gate.world.advance(LEEWAY + time::Duration::SECOND).await;
    let second = gate.token_of(username, json!({"sub": "the-second"})).await;
    let own = gate.mint(&second, json!({})).await;
    assert_eq!((answer.status.as_u16(), own.status.as_u16()), (403, 201), "{:?} {:?}", answer.audit(), own.audit());
    gate.mint(first, json!({})).await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn r63_a_token_of_the_previous_owner_mints_nothing_for_the_next_owners_user() {
    for just_in_time in MODES {
        let (gate, first) = owned(just_in_time).await;
        gate.operator_says_inactive("ada").await;
        operator_says(&gate, "ada", Earlier::Nothing).await;
        only_the_second_mints(&gate, "ada", &first).await;
    }
}

#[tokio::test]
async fn r63_nor_for_a_previous_owner_about_whom_no_source_said_anything() {
    for just_in_time in MODES {
        let (gate, first) = owned(just_in_time).await;
        let sid = gate.world.twilio_user("ada").await.unwrap()["flex_user_sid"].as_str().unwrap().to_owned();
        gate.world.deprovision_at_twilio(&sid).await;
        operator_says(&gate, "ada", Earlier::Nothing).await;
        only_the_second_mints(&gate, "ada", &first).await;
    }
}

#[tokio::test]
async fn r63_nor_for_one_who_got_the_username_by_being_renamed() {
    for just_in_time in MODES {
        let (gate, _) = owned(just_in_time).await;
        gate.operator_says_inactive("ada").await;
        operator_says(&gate, "countess", Earlier::Everything).await;
        let first = gate.token_of("countess", json!({"sub": "ada-the-first"})).await;
        assert_eq!(gate.mint(&first, json!({})).await.status, 201);
        gate.operator_says_inactive("countess").await;
        operator_says(&gate, "countess", Earlier::Nothing).await;
        only_the_second_mints(&gate, "countess", &first).await;
    }
}

#[tokio::test]
async fn r63_nor_where_a_search_misses_the_user() {
    for just_in_time in MODES {
        let (gate, first) = owned(just_in_time).await;
        gate.operator_says_inactive("ada").await;
        operator_says(&gate, "ada", Earlier::Nothing).await;
        let nobody = json!({
            "service": "flex-api", "method": "GET", "path_contains": "/v4/", "kind": "status", "status": 200, "times": 1,
            "body": {"users": [], "meta": {}},
        });
        gate.world.fault(&nobody).await;
        only_the_second_mints(&gate, "ada", &first).await;
    }
}

#[tokio::test]
async fn r63_nor_where_scim_creates_somebody_of_a_deleted_users_name() {
    for just_in_time in MODES {
        let (gate, first) = owned(just_in_time).await;
        gate.operator_says_inactive("ada").await;
        operator_says(&gate, "ada", Earlier::Statements).await;
        only_the_second_mints(&gate, "ada", &first).await;
    }
}

#[tokio::test]
async fn r63_nor_for_one_whose_token_does_not_say_when_it_was_issued() {
    let (gate, _) = owned("off").await;
    gate.operator_says_inactive("ada").await;
    operator_says(&gate, "ada", Earlier::Nothing).await;
    let undated = gate.token_of("ada", json!({"sub": "ada-the-first", "iat": null})).await;
    only_the_second_mints(&gate, "ada", &undated).await;
}

#[tokio::test]
async fn whoever_gets_their_username_back_mints_with_a_new_token() {
    for just_in_time in MODES {
        let (gate, first) = owned(just_in_time).await;
        for _ in 0..2 {
            gate.operator_says_inactive("ada").await;
            operator_says(&gate, "ada", Earlier::Nothing).await;
        }
        gate.mint(&first, json!({})).await.assert_problem(403, "mint_refused");
        gate.world.advance(LEEWAY + time::Duration::SECOND).await;
        let again = gate.token_of("ada", json!({"sub": "ada-the-first"})).await;
        assert_eq!(gate.mint(&again, json!({})).await.status, 201, "{just_in_time}");
    }
}
