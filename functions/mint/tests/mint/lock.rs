//! Tests that nobody can mint while an operator has locked the sign-in.

use serde_json::json;
use time::Duration;

use crate::gate::{Gate, Minted as _};

#[tokio::test]
async fn g22_nobody_mints_while_the_sign_in_is_locked() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let switch = gate.platform.sign_in_switch();
    switch.set_lock(Some(gate.world.clock_rng().now())).await.unwrap();
    gate.world.advance(Duration::seconds(30)).await;
    gate.world.forget_calls().await;
    gate.mint_as("ada").await.assert_problem(403, "sign_in_locked");
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any", "preferred_username": null})).await;
    gate.mint(&service, json!({"username": "ada"})).await.assert_problem(403, "sign_in_locked");
    assert_eq!(gate.world.calls("flex-api").await, Vec::<String>::new(), "Twilio is not asked for a token");
    switch.set_lock(None).await.unwrap();
    gate.world.advance(Duration::seconds(30)).await;
    gate.mint_as("ada").await.assert_minted(&ada);
}
