//! Tests refusals by proxies and firewalls between Flexgate and Twilio. Only Twilio's own refusal ends a session or a
//! login.

use axum::body::Body;
use flexgate_test_support::{Browser, Reply, World};
use http::Request;
use serde_json::{Value, json};
use time::Duration;

use crate::{SESSION, at_callback, exchanges, refreshes, signed_in};

/// Refusals that do not come from Twilio.
fn refusals_of_others() -> Vec<Value> {
    let html = "<!doctype html><html><title>Access denied</title><body>canary</body></html>";
    let mut refusals = Vec::new();
    for status in [302, 400, 401, 403, 404, 407, 410, 451, 511] {
        refusals.push(json!({ "status": status, "body": html, "headers": { "location": "https://portal.example/" } }));
    }
    for body in [
        json!({ "message": "Forbidden" }),
        json!({ "code": 403, "message": "Forbidden", "status": 403 }),
        json!({ "code": "900901", "message": "Invalid Credentials" }),
        json!({ "code": 900_901, "message": "Invalid Credentials" }),
        json!({ "code": 4001, "message": "Forbidden" }),
        json!({ "statusCode": 403, "message": "quota" }),
        json!({ "code": 20003, "message": "Authenticate", "status": 401 }),
        json!({ "fault": { "code": 20003 } }),
        json!(["20003"]),
        json!("null"),
        json!(""),
    ] {
        refusals.push(json!({ "status": 403, "body": body }));
    }
    refusals
}

fn at(service: &str, path: &str, refusal: &Value) -> Value {
    let mut fault = json!({ "service": service, "path_contains": path, "kind": "status", "times": "always" });
    fault.as_object_mut().unwrap().extend(refusal.as_object().unwrap().clone());
    fault
}

async fn validate(browser: &mut Browser, token: &str) -> Reply {
    let request = Request::post("/sso/validate").header("content-type", "application/json");
    browser.send(request.body(Body::from(json!({ "token": token }).to_string())).unwrap()).await
}

#[tokio::test]
async fn r06_a_proxy_that_refuses_the_refresh_ends_nothing() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(56)).await;
    for refusal in refusals_of_others() {
        world.no_faults().await;
        world.fault(&at("services", "OAuth/Tokens", &refusal)).await;
        let reply = browser.call("/sso/token").await;
        assert_eq!(reply.status, 200, "{refusal}: {}", reply.text);
        assert_eq!(reply.body["access_token"], first);
        // The next request gets the same token at once, because Flexgate does not ask Twilio again so soon.
        let (began, asked) = (tokio::time::Instant::now(), refreshes(&world).await);
        assert_eq!(browser.call("/sso/token").await.is(200)["access_token"], first);
        assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(refreshes(&world).await, asked);
        world.advance(Duration::seconds(11)).await;
    }
    assert!(refreshes(&world).await >= refusals_of_others().len());
    // The token has expired, and Flexgate cannot get a new one. But the refusal came from a proxy and not from Twilio,
    // so the session continues.
    world.advance(Duration::minutes(5)).await;
    let reply = browser.call("/sso/token").await;
    assert_eq!(reply.problem(), (503, "unavailable".into()));
    assert!(reply.set_cookies().is_empty() && !reply.text.contains("canary"), "{}", reply.text);
    world.no_faults().await;
    assert_ne!(browser.call("/sso/token").await.is(200)["access_token"], first);
}

#[tokio::test]
async fn r06_a_proxy_that_refuses_the_exchange_is_an_outage_not_a_wrong_code() {
    for refusal in refusals_of_others() {
        let (world, mut browser, callback) = at_callback().await;
        world.fault(&at("services", "OAuth/Tokens", &refusal)).await;
        let reply = browser.get(&callback).await;
        assert_eq!(reply.problem(), (503, "unavailable".into()), "{refusal}");
        assert!(!reply.text.contains("canary"));
        assert!(!browser.cookies.contains_key(SESSION));
        assert_eq!(exchanges(&world).await, 1, "{refusal}: the code may have been used");
    }
}

#[tokio::test]
async fn r06_a_proxy_that_refuses_validate_says_nothing_about_the_token() {
    let (world, mut browser) = signed_in().await;
    let token = browser.call("/sso/token").await.is(200)["access_token"].as_str().unwrap().to_owned();
    for refusal in refusals_of_others() {
        world.no_faults().await;
        world.fault(&at("flex-api", "Tokens/Info", &refusal)).await;
        assert_eq!(validate(&mut browser, &token).await.problem(), (503, "unavailable".into()), "{refusal}");
    }
    world.no_faults().await;
    for (status, code) in [(401, 20101), (401, 20104), (403, 20106), (404, 20404)] {
        let own = json!({ "status": status, "body": { "code": code, "message": "x", "status": status } });
        world.fault(&at("flex-api", "Tokens/Info", &own)).await;
        let reply = validate(&mut browser, &token).await;
        assert_eq!(reply.problem(), (401, "flex_token_invalid".into()), "{code}");
        world.no_faults().await;
    }
}

#[tokio::test]
async fn r06_a_proxy_that_refuses_tokens_info_costs_no_login() {
    let (world, mut browser, callback) = at_callback().await;
    world.fault(&at("flex-api", "Tokens/Info", &json!({ "status": 403, "body": "<html>no</html>" }))).await;
    assert_eq!(browser.get(&callback).await.status, 303);
    let token = browser.call("/sso/token").await.is(200);
    assert_eq!((&token["username"], &token["worker_sid"]), (&json!("ada"), &json!(null)));
}

/// Signs in, and loses the answer to the first refresh. By then, Twilio has already replaced the refresh token, and
/// Flexgate does not know the new one.
async fn rotated_unseen() -> (World, Browser, Value) {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(56)).await;
    world.fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "lost_response" })).await;
    assert_eq!(browser.call("/sso/token").await.is(200)["access_token"], first);
    world.advance(Duration::seconds(30)).await;
    (world, browser, first)
}

#[tokio::test]
async fn r07_a_refresh_whose_answer_was_lost_costs_no_minute_of_the_good_token() {
    let (world, mut browser, first) = rotated_unseen().await;
    for _ in 0..3 {
        assert_eq!(browser.call("/sso/token").await.is(200)["access_token"], first, "Twilio refuses the old token");
        world.advance(Duration::minutes(1)).await;
    }
    assert_eq!(refreshes(&world).await, 2, "Flexgate does not ask again in vain");
    world.advance(Duration::minutes(1)).await;
    let reply = browser.call("/sso/token").await;
    assert_eq!(reply.problem(), (401, "reauthenticate".into()));
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
}

#[tokio::test]
async fn r07_a_refresh_in_vain_counts_as_a_use_of_the_session() {
    let (world, mut browser, first) = rotated_unseen().await;
    let mut again = browser.clone();
    let (one, other) = tokio::join!(browser.call("/sso/token"), again.call("/sso/token"));
    for reply in [one, other] {
        assert_eq!(reply.is(200)["access_token"], first);
    }
    let db = rusqlite::Connection::open(world.store_path()).unwrap();
    let used_at: i64 = db.query_row("SELECT used_at FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(used_at, world.clock_rng().now().unix_timestamp());
}

#[tokio::test]
async fn r07_a_mistake_in_the_sso_settings_is_no_refusal_of_the_token() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(56)).await;
    for (status, code) in [(403, 70251), (404, 20404)] {
        let own = json!({ "status": status, "body": { "code": code, "message": "x", "status": status } });
        world.fault(&at("services", "OAuth/Tokens", &own)).await;
        assert_eq!(browser.call("/sso/token").await.is(200)["access_token"], first);
        world.no_faults().await;
        world.advance(Duration::seconds(11)).await;
    }
    assert_ne!(browser.call("/sso/token").await.is(200)["access_token"], first, "the session goes on");
}

#[tokio::test]
async fn r06_a_mistake_in_the_sso_settings_does_not_make_the_code_wrong() {
    let (world, mut browser, callback) = at_callback().await;
    let own = json!({ "status": 403, "body": { "code": 70251, "message": "SSO settings", "status": 403 } });
    world.fault(&at("services", "OAuth/Tokens", &own)).await;
    assert_eq!(browser.get(&callback).await.problem(), (502, "upstream_invalid".into()));
}

#[tokio::test]
async fn r10_a_long_wait_is_left_to_the_next_request_while_the_token_is_good() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(57)).await;
    world.fault(&at("services", "OAuth/Tokens", &json!({ "status": 429, "headers": { "retry-after": "8" } }))).await;
    let began = tokio::time::Instant::now();
    assert_eq!(browser.call("/sso/token").await.is(200)["access_token"], first);
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "the lease lasts ten seconds");
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn r10_a_busy_twilio_costs_no_login() {
    for refusal in [
        json!({ "status": 429, "body": { "code": 20429, "message": "Too many requests", "status": 429 } }),
        json!({ "status": 429, "headers": { "retry-after": "1" } }),
        json!({ "status": 429, "body": "<html>slow down</html>" }),
        json!({ "status": 409, "body": { "code": 45780, "message": "concurrency" } }),
    ] {
        let (world, mut browser, callback) = at_callback().await;
        let mut fault = at("services", "OAuth/Tokens", &refusal);
        fault["times"] = json!(1);
        world.fault(&fault).await;
        let reply = browser.get(&callback).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/desk"), "{refusal}: {}", reply.text);
        assert_eq!(exchanges(&world).await, 2);
    }
}

#[tokio::test]
async fn r10_a_busy_twilio_costs_no_session() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(57)).await;
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "status", "status": 429 }))
        .await;
    assert_ne!(browser.call("/sso/token").await.is(200)["access_token"], first, "the second attempt succeeds");
}
