//! Tests callers who request more than they are allowed to have (M15 to M17 and M25 of the attack register).

use serde_json::json;
use time::Duration;

use crate::gate::{Gate, Minted as _};

#[tokio::test]
async fn m15_naming_somebody_else_needs_the_scope() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let grace = gate.world.at_twilio("grace", &["agent"]).await;
    let token = gate.token_of("ada", json!({})).await;
    gate.mint(&token, json!({"username": "grace"})).await.assert_problem(403, "mint_refused");
    gate.mint(&token, json!({"username": "Ada"})).await.assert_problem(403, "mint_refused");
    // A caller can name a Flex user only by username, not by SID.
    gate.mint(&token, json!({"flex_user_sid": grace})).await.assert_problem(400, "fields_invalid");
    gate.mint(&token, json!({"username": "ada"})).await.assert_minted(&ada);

    let service = gate.token_of("service", json!({"scope": "flexgate.token.any", "preferred_username": null})).await;
    gate.mint(&service, json!({"username": "grace"})).await.assert_minted(&grace);
    gate.mint(&service, json!({"username": "nobody"})).await.assert_problem(403, "mint_refused");
    gate.mint(&service, json!({})).await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn m16_a_role_the_caller_lacks_is_refused() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({"roles": ["agent", "admin"]})).await;
    for role in ["supervisor", "admin"] {
        let answer = gate.mint(&token, json!({ "roles": [role] })).await;
        answer.assert_problem(403, "role_forbidden");
        assert!(answer.reason().contains(role));
    }
    for roles in [json!([]), json!("agent"), json!(["root"]), json!([1]), json!({"agent": true})] {
        gate.mint(&token, json!({ "roles": roles })).await.assert_problem(400, "fields_invalid");
    }
    gate.mint(&token, json!({"roles": ["agent"]})).await.assert_minted(&ada);

    // Twilio always mints with all of a user's roles. So Flexgate refuses a request for fewer roles.
    let grace = gate.world.at_twilio("grace", &["agent", "supervisor"]).await;
    let token = gate.token_of("grace", json!({"roles": ["agent", "supervisor"]})).await;
    gate.mint(&token, json!({"roles": ["agent"]})).await.assert_problem(403, "mint_refused");
    gate.mint(&token, json!({"roles": ["agent", "supervisor"]})).await.assert_minted(&grace);
}

#[tokio::test]
async fn m16_an_admin_of_flex_gets_a_token_only_where_admin_was_opted_in() {
    let admin = json!({"roles": ["admin"]});
    let gate = Gate::start().await;
    gate.world.at_twilio("linus", &["admin"]).await;
    let token = gate.token_of("linus", admin.clone()).await;
    let answer = gate.mint(&token, json!({})).await;
    answer.assert_problem(403, "mint_refused");
    assert!(answer.reason().contains("admin"));
    let gate = Gate::with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")]).await;
    let linus = gate.world.at_twilio("linus", &["admin"]).await;
    gate.mint(&gate.token_of("linus", admin).await, json!({})).await.assert_minted(&linus);
}

#[tokio::test]
async fn m17_a_lifetime_is_a_whole_number_of_seconds_within_bounds() {
    let gate = Gate::with(&[("FLEXGATE_MAX_TTL_SECONDS", "7200")]).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let now = flexgate::base::clock_rng::Clock::now(&*gate.world.clock);
    let token = gate.token_of("ada", json!({"exp": (now + Duration::hours(3)).unix_timestamp()})).await;
    gate.world.forget_calls().await;
    for ttl in ["0", "-1", "1e9", "1000000000", "\"3600\"", "3600.5", "59", "86401", "true", "[3600]", "{}"] {
        let body = format!(r#"{{"ttl": {ttl}}}"#);
        gate.send(&[&format!("Bearer {token}")], body).await.assert_problem(400, "fields_invalid");
    }
    assert_eq!(gate.world.calls("flex-api").await, [""; 0]);
    for (ttl, seconds) in [(json!(null), 3600), (json!(600), 600), (json!(600.0), 600), (json!(86_400), 7200)] {
        let answer = gate.mint(&token, json!({ "ttl": ttl })).await;
        answer.assert_minted(&ada);
        let expires_at = answer.body["expires_at"].as_str().unwrap();
        let format = &time::format_description::well_known::Rfc3339;
        let left = (time::OffsetDateTime::parse(expires_at, format).unwrap() - now).whole_seconds();
        assert!((seconds - 2..seconds + 30).contains(&left), "{ttl}: {left}");
    }
    // The minted token expires no later than the caller's token.
    let short = gate.token_of("ada", json!({"exp": (now + Duration::minutes(10)).unix_timestamp()})).await;
    let answer = gate.mint(&short, json!({"ttl": 3600})).await;
    answer.assert_minted(&ada);
    assert!(answer.reason().contains("the rest of the caller's token"));
}

#[tokio::test]
async fn m17_a_body_that_is_no_object_is_refused() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let bearer = format!("Bearer {}", gate.token_of("ada", json!({})).await);
    for body in ["[]", "{", "\"ttl\"", r#"{"ttl": 60, "ttl": 3600}"#] {
        gate.send(&[&bearer], body.into()).await.assert_problem(400, "body_malformed");
    }
}

#[tokio::test]
async fn m25_a_subject_has_so_many_tokens_a_minute() {
    let gate = Gate::with(&[("FLEXGATE_MINTS_PER_MINUTE", "3")]).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let grace = gate.world.at_twilio("grace", &["agent"]).await;
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any", "preferred_username": null})).await;
    for _ in 0..3 {
        gate.mint_as("ada").await.assert_minted(&ada);
        gate.mint(&service, json!({"username": "grace"})).await.assert_minted(&grace);
    }
    gate.world.forget_calls().await;
    for _ in 0..2 {
        gate.mint_as("ada").await.assert_problem(429, "too_many_requests");
        gate.mint(&service, json!({"username": "grace"})).await.assert_problem(429, "too_many_requests");
    }
    assert_eq!(gate.world.calls("flex-api").await, [""; 0], "Twilio is not asked");
    // Each person has a separate limit. A service has a separate limit for each user that it names.
    gate.mint_as("grace").await.assert_minted(&grace);
    gate.mint(&service, json!({"username": "ada"})).await.assert_minted(&ada);
    gate.world.clock.advance(Duration::seconds(61));
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn m25_a_search_for_usernames_is_limited_too() {
    let gate = Gate::with(&[("FLEXGATE_MINTS_PER_MINUTE", "3")]).await;
    for _ in 0..3 {
        gate.mint_as("nobody").await.assert_problem(403, "mint_refused");
    }
    gate.mint_as("nobody").await.assert_problem(429, "too_many_requests");
}
