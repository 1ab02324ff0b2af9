//! Tests that nobody can mint with a token that was issued before the person's sessions were ended, for example by an
//! identity system or an administrator.

use flexgate::domain::{Identity, Username};
use flexgate::store::EndingKey;
use serde_json::json;
use time::Duration;

use crate::gate::{Gate, Minted as _};

#[tokio::test]
async fn g16_a_token_from_before_the_end_of_the_sessions_mints_nothing() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let now = gate.world.clock_rng().now().unix_timestamp();
    let endings = gate.platform.session_endings();
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-ada".into() };
    let keys = [
        EndingKey::Identity(identity),
        EndingKey::Username("Ada".parse::<Username>().unwrap().key()),
        EndingKey::FlexUser(ada.parse().unwrap()),
    ];
    let mut at = gate.world.clock_rng().now();
    for key in keys {
        let old = [json!({ "iat": now - 10 }), json!({ "iat": at.unix_timestamp() }), json!({ "iat": null })];
        let fresh = gate.token_of("ada", json!({ "iat": at.unix_timestamp() + 1 })).await;
        for changes in &old {
            // The sessions end at `at`. Flexgate must refuse a token that was issued in that second or earlier, and a
            // token that does not say when it was issued.
            let token = gate.token_of("ada", changes.clone()).await;
            endings.record_ending(std::slice::from_ref(&key), at).await.unwrap();
            gate.world.forget_calls().await;
            let reply = gate.mint(&token, json!({})).await;
            reply.assert_problem(401, "signed_out");
            assert_eq!(gate.world.calls("flex-api").await, Vec::<String>::new(), "Twilio is not asked for a token");
        }
        gate.world.advance(Duration::seconds(1)).await;
        gate.mint(&fresh, json!({})).await.assert_minted(&ada);
        at = gate.world.clock_rng().now();
    }
}

#[tokio::test]
async fn g16_a_service_that_mints_for_somebody_is_judged_by_its_own_sign_out() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let at = gate.world.clock_rng().now();
    let username = EndingKey::Username("ada".parse::<Username>().unwrap().key());
    gate.platform.session_endings().record_ending(&[username], at).await.unwrap();
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any", "preferred_username": null})).await;
    gate.mint(&service, json!({"username": "ada"})).await.assert_minted(&ada);
    let identity = Identity { issuer: gate.world.simulator.issuer().into(), subject: "sub-service".into() };
    gate.platform.session_endings().record_ending(&[EndingKey::Identity(identity)], at).await.unwrap();
    gate.mint(&service, json!({"username": "ada"})).await.assert_problem(401, "signed_out");
}

#[tokio::test]
async fn g23_a_token_from_before_an_operator_ended_all_sessions_mints_nothing() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let at = gate.world.clock_rng().now();
    let old = [json!({ "iat": at.unix_timestamp() }), json!({ "iat": null })];
    gate.platform.sign_in_switch().end_until(at).await.unwrap();
    gate.world.advance(Duration::seconds(30)).await;
    for changes in old {
        let token = gate.token_of("ada", changes).await;
        gate.mint(&token, json!({})).await.assert_problem(401, "signed_out");
    }
    gate.mint_as("ada").await.assert_minted(&ada);
}
