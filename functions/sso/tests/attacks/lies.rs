//! Tests answers and callbacks that are meant for another person or another profile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate_test_support::{GATEWAY, World};
use serde_json::json;
use time::Duration;

use crate::{SESSION, at_callback, exchanges, fresh, signed_in, with_parameter};

/// Replaces the profile in the callback's URL and in its `state`, but keeps the login's number.
fn readdressed(callback: &str, profile: &str) -> String {
    let query = callback.split_once('?').unwrap().1;
    let state = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").unwrap().1.into_owned();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(state).unwrap()).unwrap();
    let text = text.replace("/sso/default/callback", &format!("/sso/{profile}/callback"));
    let callback = callback.replace("/sso/default/", &format!("/sso/{profile}/"));
    with_parameter(&callback, "state", Some(&URL_SAFE_NO_PAD.encode(text)))
}

#[tokio::test]
async fn s08_a_state_rewritten_for_another_profile_opens_no_cookie() {
    let (world, mut browser, callback) = at_callback().await;
    assert_eq!(browser.get(&readdressed(&callback, "second")).await.problem(), (400, "login_invalid".into()));
    assert_eq!(exchanges(&world).await, 0);
    assert_eq!(browser.get(&readdressed(&callback, "default")).await.status, 303, "only the profile made it fail");
}

#[tokio::test]
async fn s08_a_newer_login_of_another_profile_is_not_taken() {
    let (world, mut browser, callback) = at_callback().await;
    world.clock.advance(Duration::SECOND);
    browser.begin("/sso/second/login?return_to=/second").await;
    let redirect_url = format!("{GATEWAY}/sso/default/callback");
    let state = URL_SAFE_NO_PAD.encode(json!({ "connection_name": "x", "redirect_url": redirect_url }).to_string());
    let reply = browser.get(&with_parameter(&callback, "state", Some(&state))).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/desk"));
}

async fn tokens_of(world: &World, person: &str) -> serde_json::Value {
    let account = world.simulator.account();
    let user = world.twilio_user(person).await.unwrap();
    json!({
        "access_token": "canary", "refresh_token": "canary",
        "token_info": {
            "account_sid": account.account_sid, "flex_instance_sid": account.instance_sid,
            "flex_user_sid": user["flex_user_sid"], "username": person, "identity": person, "roles": ["agent"],
            "permissions": [], "expiration": "2999-01-01T00:00:00Z",
        },
    })
}

#[tokio::test]
async fn s14_a_refresh_that_brings_another_persons_token_ends_the_session() {
    let (world, mut browser) = signed_in().await;
    flexgate_test_support::Browser::new(crate::process(&world)).sign_in(&world, "grace").await;
    world.advance(Duration::minutes(57)).await;
    let body = tokens_of(&world, "grace").await;
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "status", "status": 200, "body": body }))
        .await;
    let reply = browser.call("/sso/token").await;
    assert_eq!(reply.problem(), (502, "upstream_invalid".into()));
    assert!(!reply.text.contains("canary"));
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
}

#[tokio::test]
async fn without_a_username_nobody_can_be_checked_and_nobody_is_signed_in() {
    let (world, mut browser, callback) = at_callback().await;
    let mut body = tokens_of(&world, "ada").await;
    body["token_info"].as_object_mut().unwrap().remove("username");
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "status", "status": 200, "body": body }))
        .await;
    world
        .fault(&json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": "reset", "times": "always" }))
        .await;
    assert_eq!(browser.get(&callback).await.problem(), (503, "unavailable".into()));
    assert!(!browser.cookies.contains_key(SESSION));
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_signs_nobody_in() {
    let (world, mut browser, callback) = at_callback().await;
    // Starting the login needed the store. So make the store fail only now.
    world.sql("ALTER TABLE person_pointers RENAME TO elsewhere");
    assert_eq!(browser.get(&callback).await.problem(), (503, "unavailable".into()));
    world.sql("ALTER TABLE elsewhere RENAME TO person_pointers");
    let db = rusqlite::Connection::open(world.store_path()).unwrap();
    let sessions: i64 = db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(sessions, 0);
    let (_world, mut again) = fresh().await;
    assert_eq!(again.call("/sso/token").await.status, 401);
}
