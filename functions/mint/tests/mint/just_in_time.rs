//! Tests how mints bind, create and update users.

use flexgate::domain::Identity;
use serde_json::{Value, json};

use crate::gate::{Gate, Minted as _};

const CREATE: &[(&str, &str)] = &[("FLEXGATE_JUST_IN_TIME", "create")];
const SYNC: &[(&str, &str)] = &[("FLEXGATE_JUST_IN_TIME", "create-and-sync")];

#[tokio::test]
async fn a_username_given_to_somebody_new_takes_over_no_account() {
    let gate = Gate::with(CREATE).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let reused = gate.token_of("eve", json!({"preferred_username": "ada"})).await;
    let answer = gate.mint(&reused, json!({})).await;
    answer.assert_problem(403, "mint_refused");
    assert!(answer.reason().contains("do not belong together"));
}

#[tokio::test]
async fn a_renamed_person_stays_who_they_are() {
    let gate = Gate::with(CREATE).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.at_twilio("grace", &["supervisor"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    for changes in [json!({"preferred_username": "grace"}), json!({"email": "grace@example.com"})] {
        let renamed = gate.token_of("ada", changes).await;
        gate.mint(&renamed, json!({})).await.assert_minted(&ada);
    }
}

#[tokio::test]
async fn off_makes_nobody() {
    let gate = Gate::start().await;
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("ada").await, None);
}

#[tokio::test]
async fn a_newcomer_is_made_from_verified_claims_once() {
    let gate = Gate::with(CREATE).await;
    let token = gate.token_of("ada", json!({"roles": ["supervisor", "admin"]})).await;
    let answer = gate.mint(&token, json!({})).await;
    let ada = gate.world.twilio_user("ada").await.unwrap();
    answer.assert_minted(ada["flex_user_sid"].as_str().unwrap());
    assert!(answer.reason().contains("provisioned"));
    assert_eq!((&ada["email"], &ada["full_name"]), (&json!("ada@example.com"), &json!("ada Example")));
    assert_eq!(ada["roles"], json!(["supervisor"]), "the allow-list has no admin");

    for (username, lacking) in [("bea", json!({"email_verified": false})), ("cyd", json!({"name": null}))] {
        let token = gate.token_of(username, lacking).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
        assert_eq!(gate.world.twilio_user(username).await, None);
    }
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any"})).await;
    gate.mint(&service, json!({"username": "dan"})).await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("dan").await, None, "nobody is made at a service's word");
}

#[tokio::test]
async fn m18_nobody_is_brought_back_by_minting() {
    let gate = Gate::with(SYNC).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.deprovision_at_twilio(&ada).await;
    for found in [true, false] {
        // Flexgate must find the deactivated user even if Twilio's search omits it.
        gate.world.switch(&json!({"find_returns_deactivated": found})).await;
        gate.mint_as("ada").await.assert_problem(403, "mint_refused");
        assert_eq!(gate.world.twilio_user("ada").await.unwrap()["deactivated"], true);
    }
}

#[tokio::test]
async fn m19_a_newcomer_never_writes_over_a_user_of_another_case() {
    let gate = Gate::with(CREATE).await;
    gate.world.at_twilio("ada", &["agent"]).await;
    for sensitive in [true, false] {
        gate.world.switch(&json!({"find_case_sensitive": sensitive})).await;
        gate.mint_as("ADA").await.assert_problem(403, "mint_refused");
        assert_eq!(gate.world.twilio_user("ADA").await, None);
    }
}

#[tokio::test]
async fn a_synced_user_follows_the_claims() {
    let gate = Gate::with(SYNC).await;
    let ada = gate.world.at_twilio("ada", &["supervisor"]).await;
    let mint = async |changes: Value| {
        let token = gate.token_of("ada", changes).await;
        gate.mint(&token, json!({})).await.assert_minted(&ada);
        gate.world.twilio_user("ada").await.unwrap()
    };
    // Claims without roles do not change the user's roles.
    let user = mint(json!({"name": "Ada King"})).await;
    assert_eq!((&user["full_name"], &user["roles"]), (&json!("Ada King"), &json!(["supervisor"])));
    let user = mint(json!({"email": "new@example.com", "email_verified": false, "name": "Ada King"})).await;
    assert_eq!(user["email"], "ada@example.com");
    // A role that was added in the Console stays. A role from the claims is removed once the claims no longer contain
    // it.
    let user = mint(json!({"roles": ["agent"], "name": "Ada King"})).await;
    assert_eq!(user["roles"], json!(["agent", "supervisor"]));
    mint(json!({"roles": ["agent", "supervisor"], "name": "Ada King"})).await;
    let user = mint(json!({"roles": ["agent"], "name": "Ada King"})).await;
    assert_eq!(user["roles"], json!(["agent"]));
    let version = user["version"].clone();
    gate.world.forget_calls().await;
    let user = mint(json!({"roles": ["agent"], "name": "Ada King"})).await;
    assert_eq!(user["version"], version);
    assert_eq!(gate.world.calls("flex-api").await.len(), 1, "what is in step costs nothing");
}

#[tokio::test]
async fn what_is_not_configured_to_follow_does_not() {
    let gate = Gate::with(CREATE).await;
    let ada = gate.world.at_twilio("ada", &["supervisor"]).await;
    let token = gate.token_of("ada", json!({"roles": ["agent"], "name": "Ada King"})).await;
    gate.mint(&token, json!({})).await.assert_minted(&ada);
    let user = gate.world.twilio_user("ada").await.unwrap();
    assert_eq!((&user["full_name"], &user["roles"]), (&json!("ada Example"), &json!(["supervisor"])));
}

#[tokio::test]
async fn the_binding_is_of_issuer_and_subject() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-ada".into() };
    let bound = gate.platform.bindings().user_of(&identity).await.unwrap();
    assert_eq!(bound.unwrap().as_str(), ada);
}
