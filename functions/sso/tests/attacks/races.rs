//! Tests what happens when processes have different keys or clocks, when browsers disconnect, and when a session
//! changes during a refresh.

use std::time::Duration as StdDuration;

use flexgate_test_support::{Browser, World};
use serde_json::json;
use time::Duration;
use tokio::time::{Instant, sleep, timeout};

use crate::{SESSION, at_callback, exchanges, fresh, process, refreshes, signed_in, with_parameter};

fn sessions(world: &World) -> i64 {
    let db = rusqlite::Connection::open(world.store_path()).unwrap();
    db.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < StdDuration::from_secs(20), "{what} does not happen");
        sleep(StdDuration::from_millis(20)).await;
    }
}

fn slow_exchange() -> serde_json::Value {
    json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "delay", "delay_ms": 2_000 })
}

#[tokio::test]
async fn s06_a_process_that_has_not_read_the_new_key_yet_serves_what_another_sealed() {
    let world = World::on_one_clock().await;
    let old = process(&world);
    assert_eq!(Browser::new(old.clone()).sign_in(&world, "grace").await.status, 303, "it has read the keys");
    world.write_keys("2", &[("2", 9), ("1", 7)]);
    let mut browser = Browser::new(process(&world));
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_eq!(browser.at(old).call("/sso/token").await.status, 200);

    let old = process(&world);
    assert_eq!(Browser::new(old.clone()).sign_in(&world, "grace").await.status, 303);
    world.write_keys("3", &[("3", 11), ("2", 9)]);
    let mut browser = Browser::new(process(&world));
    let authorize = browser.begin("/sso/default/login?return_to=/desk").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    assert_eq!(browser.at(old).get(&callback).await.header("location"), "/desk");
}

#[tokio::test]
async fn s06_a_session_whose_key_is_missing_is_refused_and_comes_back_with_the_key() {
    let (world, browser) = signed_in().await;
    world.write_keys("2", &[("2", 9)]);
    assert_eq!(browser.at(process(&world)).call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    world.write_keys("2", &[("2", 9), ("1", 7)]);
    assert_eq!(browser.at(process(&world)).call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn s04_the_clock_of_the_process_that_began_the_login_may_be_ahead() {
    for (ahead, status) in [(1, 303), (60, 303), (61, 400)] {
        let (world, mut browser, callback) = at_callback().await;
        world.clock.advance(-Duration::seconds(ahead));
        // Twilio's code stays valid.
        world.shift_simulator(ahead).await;
        assert_eq!(browser.get(&callback).await.status, status, "{ahead} s");
    }
}

#[tokio::test]
async fn s09_one_code_is_sent_once_even_with_another_state() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (world, mut browser, callback) = at_callback().await;
    let redirect_url = format!("{}/sso/default/callback", flexgate_test_support::GATEWAY);
    let state = URL_SAFE_NO_PAD.encode(json!({ "connection_name": "x", "redirect_url": redirect_url }).to_string());
    let unnumbered = with_parameter(&callback, "state", Some(&state));
    let mut kept = browser.clone();
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(kept.get(&unnumbered).await.problem(), (400, "login_invalid".into()));
    assert_eq!(exchanges(&world).await, 1);
}

#[tokio::test]
async fn a_browser_that_leaves_during_a_refresh_keeps_its_session() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(57)).await;
    world.fault(&slow_exchange()).await;
    let mut leaving = browser.clone();
    assert!(timeout(StdDuration::from_millis(200), leaving.call("/sso/token")).await.is_err(), "it leaves");
    until("the refresh", async || browser.call("/sso/token").await.is(200)["access_token"] != first).await;
    assert_eq!(refreshes(&world).await, 1, "the refresh token that Twilio issued is not lost");
}

#[tokio::test]
async fn a_browser_that_leaves_during_the_callback_leaves_a_session_behind() {
    let (world, mut browser, callback) = at_callback().await;
    world.fault(&slow_exchange()).await;
    assert!(timeout(StdDuration::from_millis(200), browser.get(&callback)).await.is_err(), "it leaves");
    until("the session", async || sessions(&world) == 1).await;
}

#[tokio::test]
async fn a_session_that_changes_during_a_refresh_is_read_again() {
    let (world, mut browser) = signed_in().await;
    world.advance(Duration::minutes(57)).await;
    world.fault(&slow_exchange()).await;
    let mut other = browser.clone();
    let refreshing = tokio::spawn(async move { other.call("/sso/token").await });
    until("the refresh", async || refreshes(&world).await == 1).await;
    world.sql("UPDATE sessions SET version = version + 1, leased_until = 0");
    let reply = refreshing.await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn while_another_process_refreshes_a_good_token_is_served_and_an_expired_one_is_not() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.is(200)["access_token"].clone();
    world.advance(Duration::minutes(57)).await;
    // Another process has the lease and does not finish.
    world.sql("UPDATE sessions SET leased_until = 9999999999");
    assert_eq!(browser.call("/sso/token").await.is(200)["access_token"], first);
    // Now the token expires within a few seconds, so it would be useless to the page.
    world.advance(Duration::seconds(176)).await;
    let reply = browser.call("/sso/token").await;
    assert_eq!(reply.problem(), (503, "unavailable".into()));
    assert_eq!(refreshes(&world).await, 0);
}

#[tokio::test]
async fn s32_a_logout_during_a_refresh_hands_out_no_new_token() {
    let (world, mut browser) = signed_in().await;
    world.advance(Duration::minutes(57)).await;
    world.fault(&slow_exchange()).await;
    let mut other = browser.clone();
    let refreshing = tokio::spawn(async move { other.call("/sso/token").await });
    until("the refresh", async || refreshes(&world).await == 1).await;
    assert_eq!(browser.call("/sso/logout").await.status, 204);
    assert_eq!(refreshing.await.unwrap().problem(), (401, "not_signed_in".into()));
    assert_eq!(sessions(&world), 0);
}

#[tokio::test]
async fn two_login_cookies_of_one_name_say_nothing() {
    let (_world, mut browser, callback) = at_callback().await;
    let (name, value) = browser.cookies.pop_first().unwrap();
    let line = format!("{name}={value}; {name}=v1.1.other");
    let request = http::Request::get(&callback).header("cookie", line).body(axum::body::Body::empty()).unwrap();
    assert_eq!(browser.send(request).await.problem(), (400, "login_invalid".into()));
}

#[tokio::test]
async fn a_page_that_asks_each_minute_is_never_idle() {
    let world = World::on_one_clock().await;
    let limits = [("FLEXGATE_SESSION_IDLE_SECONDS", "600")];
    let mut browser = Browser::new(crate::process_with(&world, &limits));
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    for minute in 0..30 {
        world.advance(Duration::minutes(1)).await;
        assert_eq!(browser.call("/sso/token").await.status, 200, "minute {minute}");
    }
    world.advance(Duration::minutes(10)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
}

#[tokio::test]
async fn an_older_configuration_is_served_at_once_while_twilio_hangs_or_fails() {
    for fault in [json!({ "kind": "delay", "delay_ms": 8_000 }), json!({ "kind": "status", "status": 503 })] {
        let (world, mut browser) = fresh().await;
        browser.begin("/sso/default/login").await;
        world.advance(Duration::minutes(6)).await;
        let mut fault = fault;
        fault["service"] = "services".into();
        fault["path_contains"] = "Authentication/Config".into();
        fault["times"] = "always".into();
        world.fault(&fault).await;
        let began = Instant::now();
        let logins = (0..4).map(|_| {
            let mut browser = browser.clone();
            tokio::spawn(async move { browser.get("/sso/default/login").await })
        });
        for login in logins.collect::<Vec<_>>() {
            assert_eq!(login.await.unwrap().status, 303);
        }
        assert!(began.elapsed() < StdDuration::from_secs(6), "{:?}", began.elapsed());
        let asked = world.journal("Authentication/Config").await.len();
        browser.begin("/sso/default/login").await;
        assert_eq!(world.journal("Authentication/Config").await.len(), asked, "there is a pause after a failure");
        world.advance(Duration::minutes(55)).await;
        assert!(browser.get("/sso/default/login").await.status.is_server_error(), "an hour is too old");
    }
}

#[tokio::test]
async fn the_worker_is_still_known_after_a_refresh() {
    let (world, mut browser) = signed_in().await;
    let worker = browser.call("/sso/token").await.is(200)["worker_sid"].clone();
    assert!(worker.is_string());
    world.advance(Duration::minutes(57)).await;
    assert_eq!(browser.call("/sso/token").await.is(200)["worker_sid"], worker);
    assert!(browser.cookies.contains_key(SESSION));
}
