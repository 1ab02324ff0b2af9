//! Tests attacks by callers who pretend to be other people (M1, M10, M13, M14 and M24 of the attack register).
//! `shared/tests/authn` tests attacks on tokens in general.

use flexgate::base::clock_rng::Clock as _;
use serde_json::json;

use crate::gate::{Gate, Minted as _};

const REFUSED: (u16, &str) = (401, "token_invalid");

#[tokio::test]
async fn m01_only_one_bearer_header_counts() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({})).await;
    let bearer = format!("Bearer {token}");
    let cases: [&[&str]; 7] = [
        &[],
        &["Basic YWRhOnNlY3JldA=="],
        &[&token],
        &["Bearer"],
        &["Bearer "],
        &[&bearer, &bearer],
        &[&bearer, "Basic YWRhOnNlY3JldA=="],
    ];
    for headers in cases {
        gate.send(headers, "{}".into()).await.assert_problem(REFUSED.0, REFUSED.1);
    }
    // The body is invalid too, but the answer must not mention the body to a caller without a token.
    gate.send(&[], r#"{"ttl": -1}"#.into()).await.assert_problem(REFUSED.0, REFUSED.1);
    gate.send(&[&bearer], "{}".into()).await.assert_minted(&ada);
    gate.send(&[&format!("bearer {token}")], String::new()).await.assert_minted(&ada);
}

#[tokio::test]
async fn a_token_that_is_refused_is_a_401_and_nothing_is_asked_of_twilio() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.forget_calls().await;
    let (now, issuer) = (gate.world.clock.now().unix_timestamp(), gate.world.simulator.issuer());
    // One invalid token for each check: the signature, the key, the header, and each claim.
    let changes = [
        json!({"header": {"alg": "none"}}),
        json!({"key": "public-pem-as-hmac", "header": {"alg": "RS256"}}),
        json!({"key": "unknown"}),
        json!({"key": "unknown", "header": {"jku": format!("{issuer}/evil")}}),
        json!({"header": {"typ": "logout+jwt"}}),
        json!({"aud": "other"}),
        json!({"iss": format!("{issuer}/")}),
        json!({"exp": now - 61}),
        json!({"nbf": now + 600}),
        json!({"header": {"typ": "JWT"}, "nonce": "n"}),
        json!({"cnf": {"jkt": "x"}}),
    ];
    for changes in changes {
        let token = gate.token_of("ada", changes.clone()).await;
        let answer = gate.mint(&token, json!({})).await;
        assert_eq!(answer.status, REFUSED.0, "{changes}");
        answer.assert_problem(REFUSED.0, REFUSED.1);
    }
    let good = gate.token_of("ada", json!({})).await;
    for misspelt in [format!("{good}="), format!("{good}."), "a.b".to_owned()] {
        gate.mint(&misspelt, json!({})).await.assert_problem(REFUSED.0, REFUSED.1);
    }
    assert_eq!(gate.world.calls("flex-api").await, [""; 0]);
    assert!(gate.world.calls("idp").await.iter().all(|line| !line.contains("evil")));
}

#[tokio::test]
async fn m10_a_token_that_has_just_expired_is_too_old_to_mint_with() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let now = gate.world.clock.now().unix_timestamp();
    // The caller's token expired five seconds ago. Flexgate still accepts the caller, because clocks may differ. But
    // Flexgate refuses the mint, because a Flex token must not outlast the caller's token.
    let token = gate.token_of("ada", json!({"exp": now - 5})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn m13_a_token_too_large_is_not_looked_at() {
    let gate = Gate::start().await;
    let large = gate.token_of("ada", json!({"pad": "x".repeat(9 * 1024)})).await;
    gate.mint(&large, json!({})).await.assert_problem(413, "too_large");
}

#[tokio::test]
async fn r86_where_no_issuer_is_configured_nobody_mints() {
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", "")]).await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.forget_calls().await;
    gate.mint_as("ada").await.assert_problem(501, "not_configured");
    gate.send(&[], "{}".into()).await.assert_problem(501, "not_configured");
    assert_eq!(gate.world.calls("flex-api").await, [""; 0]);
}

#[tokio::test]
async fn m14_without_the_scope_nobody_mints() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    for scope in
        [json!(null), json!(""), json!("openid profile"), json!("flexgate.users.write"), json!("flexgate.tokens")]
    {
        let token = gate.token_of("ada", json!({ "scope": scope })).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "scope_missing");
    }
}

#[tokio::test]
async fn m24_an_email_address_names_nobody() {
    // An e-mail address does not identify a person. The token has no username, and its e-mail address is a Flex user's
    // username.
    let gate = Gate::start().await;
    gate.world.at_twilio("ada@example.com", &["agent"]).await;
    let token = gate.token_of("ada", json!({"preferred_username": null})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");

    // The settings use the e-mail address as the username. So Flexgate accepts only a verified e-mail address.
    let issuers = r#"[{"issuer": "{issuer}", "audiences": ["flexgate"], "username_template": "{email}"}]"#;
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", issuers)]).await;
    let ada = gate.world.at_twilio("ada@example.com", &["agent"]).await;
    for unverified in [json!(false), json!(null), json!("no")] {
        let token = gate.token_of("mallory", json!({"email": "ada@example.com", "email_verified": unverified})).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
    }
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn a_username_may_be_put_together_from_claims() {
    let issuers = r#"[{"issuer": "{issuer}", "audiences": ["flexgate"], "username_template": "{tid}.{oid}"}]"#;
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", issuers)]).await;
    let sid = gate.world.at_twilio("tenant-1.user-2", &["agent"]).await;
    let token = gate.token_of("ada", json!({"tid": "tenant-1", "oid": "user-2"})).await;
    gate.mint(&token, json!({})).await.assert_minted(&sid);
    let token = gate.token_of("eve", json!({"tid": "tenant", "oid": "1.user-2"})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
}
