//! Tests mints while the issuer's keys change (attacks M4 and M23 of the attack register).

use serde_json::json;

use crate::gate::{Gate, Minted as _};

async fn key_fetches(gate: &Gate) -> usize {
    gate.world.calls("idp").await.iter().filter(|line| line.ends_with("/jwks")).count()
}

#[tokio::test]
async fn m04_a_hundred_unknown_keys_cause_one_fetch() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await;
    gate.world.forget_calls().await;
    let mut tokens = Vec::new();
    for n in 0..100 {
        tokens.push(gate.token_of("ada", json!({"header": {"kid": format!("unknown-{n}")}})).await);
    }
    tokens.push(gate.token_of("ada", json!({"key": "unknown"})).await);
    for token in tokens {
        gate.mint(&token, json!({})).await.assert_problem(401, "token_invalid");
    }
    assert_eq!(key_fetches(&gate).await, 1);
}

#[tokio::test]
async fn m23_without_keys_nothing_can_be_said_and_with_old_ones_enough() {
    let down = json!({"service": "idp", "path_contains": "/jwks", "kind": "status", "status": 503, "times": "always"});
    let cold = Gate::start().await;
    let ada = cold.world.at_twilio("ada", &["agent"]).await;
    cold.world.fault(&down.clone()).await;
    cold.mint_as("ada").await.assert_problem(503, "unavailable");
    cold.world.no_faults().await;
    cold.world.clock.advance(time::Duration::seconds(6));
    cold.mint_as("ada").await.assert_minted(&ada);

    cold.world.fault(&down).await;
    cold.mint_as("ada").await.assert_minted(&ada);
}
