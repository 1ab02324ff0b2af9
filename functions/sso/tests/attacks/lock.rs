//! Tests that an operator can end all sessions, or stop all sign-ins.

use flexgate::domain::Username;
use flexgate::store::{EndingKey, SessionEndings as _, SignInSwitch as _, SqliteStore};
use flexgate_test_support::World;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::{at_callback, process, signed_in};

fn store(world: &World) -> SqliteStore {
    SqliteStore::open(&world.store_path()).unwrap()
}

#[tokio::test]
async fn g22_nobody_signs_in_or_gets_a_token_while_the_sign_in_is_locked() {
    let (world, mut browser) = signed_in().await;
    let locked = (403, "sign_in_locked".to_owned());
    assert_eq!(browser.call("/sso/token").await.status, 200);
    store(&world).set_lock(Some(world.clock_rng().now())).await.unwrap();
    world.advance(Duration::seconds(30)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), locked);
    assert_eq!(browser.get("/sso/default/login").await.problem(), locked);
    let mut fresh = browser.at(process(&world));
    assert_eq!(fresh.call("/sso/token").await.problem(), locked, "a new process obeys at once");
    assert_eq!(fresh.call("/sso/logout").await.status, 204, "signing out is always possible");

    store(&world).set_lock(None).await.unwrap();
    world.advance(Duration::seconds(30)).await;
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn g22_a_login_that_began_before_the_lock_ends_after_it() {
    let (world, browser, callback) = at_callback().await;
    store(&world).set_lock(Some(world.clock_rng().now())).await.unwrap();
    let reply = browser.at(process(&world)).get(&callback).await;
    assert_eq!(reply.problem(), (403, "sign_in_locked".into()));
    store(&world).set_lock(None).await.unwrap();
    assert_eq!(browser.at(process(&world)).get(&callback).await.status, 303, "the code was not used up");
}

#[tokio::test]
async fn g22_the_page_of_a_locked_sign_in_offers_to_try_again() {
    let (world, mut browser) = signed_in().await;
    store(&world).set_lock(Some(world.clock_rng().now())).await.unwrap();
    world.advance(Duration::seconds(30)).await;
    browser.accept("text/html");
    let reply = browser.get("/sso/default/login").await;
    assert_eq!(reply.status, 403);
    assert!(reply.text.contains("Nobody can sign in at the moment") && reply.text.contains("/sso/default/login"));
}

#[tokio::test]
async fn g23_all_sessions_end_within_half_a_minute_and_people_sign_in_again() {
    let (world, mut browser) = signed_in().await;
    assert_eq!(browser.call("/sso/token").await.status, 200);
    store(&world).end_until(world.clock_rng().now()).await.unwrap();
    let mut fresh = browser.at(process(&world));
    world.advance(Duration::seconds(30)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    assert_eq!(fresh.call("/sso/token").await.problem(), (401, "not_signed_in".into()), "the session is removed");
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn g22_a_store_that_fails_lets_nobody_in() {
    let (world, mut browser) = signed_in().await;
    world.advance(Duration::seconds(30)).await;
    world.sql("ALTER TABLE sign_in_state RENAME TO gone");
    assert_eq!(browser.call("/sso/token").await.problem(), (503, "unavailable".into()));
    assert_eq!(browser.get("/sso/default/login").await.problem(), (503, "unavailable".into()));
    world.sql("ALTER TABLE gone RENAME TO sign_in_state");
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn g17_a_session_that_the_list_lacks_is_refused_at_once_and_a_later_one_is_not() {
    let (world, mut browser) = signed_in().await;
    assert_eq!(browser.call("/sso/token").await.status, 200);
    // The identity system ends ada's sessions, but this session stays in the store. This can happen if a session is
    // inserted while the others are being removed.
    let ada = EndingKey::Username("ADA".parse::<Username>().unwrap().key());
    let at = world.clock_rng().now();
    store(&world).record_ending(std::slice::from_ref(&ada), at).await.unwrap();
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
    // When sessions are ended, Flexgate stores the time without fractions of a second. This login begins in the same
    // second. Flexgate cannot tell whether the login began before or after the end of the sessions, so it refuses the
    // login.
    assert_eq!(browser.sign_in(&world, "ada").await.problem(), (400, "login_invalid".into()));
    world.advance(Duration::SECOND).await;
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_eq!(browser.call("/sso/token").await.status, 200);
    // The same event is delivered again, and then an earlier event is delivered late. Neither ends the new session.
    for late in [at, at - Duration::HOUR] {
        store(&world).record_ending(std::slice::from_ref(&ada), late).await.unwrap();
        assert_eq!(browser.call("/sso/token").await.status, 200);
    }
}

#[tokio::test]
async fn g17_a_store_that_cannot_tell_serves_nobody() {
    let (world, mut browser) = signed_in().await;
    world.sql("DROP TABLE session_endings");
    assert_eq!(browser.call("/sso/token").await.status, 503);
}

#[tokio::test]
async fn g18_a_login_that_began_before_the_sessions_ended_signs_nobody_in() {
    for ends_all in [false, true] {
        let (world, mut browser, callback) = at_callback().await;
        world.advance(Duration::seconds(5)).await;
        end_now(&world, ends_all).await;
        world.advance(Duration::seconds(30)).await;
        assert_eq!(browser.get(&callback).await.problem(), (400, "login_invalid".into()), "all: {ends_all}");
        assert_eq!(browser.call("/sso/token").await.status, 401);
        assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
        assert_eq!(browser.call("/sso/token").await.status, 200);
    }
}

#[tokio::test]
async fn g18_an_ending_that_arrives_after_the_callback_ends_the_session_of_an_earlier_login() {
    for ends_all in [false, true] {
        let (world, mut browser, callback) = at_callback().await;
        world.advance(Duration::seconds(5)).await;
        let at = world.clock_rng().now();
        world.advance(Duration::seconds(5)).await;
        assert_eq!(browser.get(&callback).await.status, 303);
        assert_eq!(browser.call("/sso/token").await.status, 200);
        end_at(&world, ends_all, at).await;
        world.advance(Duration::seconds(30)).await;
        assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()), "all: {ends_all}");
    }
}

async fn end_now(world: &World, ends_all: bool) {
    end_at(world, ends_all, world.clock_rng().now()).await;
}

/// Ends the sessions that began at `at` or earlier: all of them, or only ada's.
async fn end_at(world: &World, ends_all: bool, at: OffsetDateTime) {
    if ends_all {
        store(world).end_until(at).await.unwrap();
    } else {
        let ada = EndingKey::Username("ada".parse::<Username>().unwrap().key());
        store(world).record_ending(&[ada], at).await.unwrap();
    }
}

#[tokio::test]
async fn g17_an_ending_during_a_refresh_hands_out_no_new_token() {
    for ends_all in [false, true] {
        let (world, mut browser) = signed_in().await;
        world.advance(Duration::minutes(57)).await;
        let slow = json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "delay", "delay_ms": 1500 });
        world.fault(&slow).await;
        let mut asking = browser.clone();
        let refreshing = tokio::spawn(async move { asking.call("/sso/token").await });
        world.fault_met().await;
        end_now(&world, ends_all).await;
        // A process caches for 30 seconds whether all sessions were ended. So wait until it reads this from the store
        // again.
        world.advance(Duration::seconds(if ends_all { 30 } else { 0 })).await;
        assert_eq!(refreshing.await.unwrap().problem(), (401, "reauthenticate".into()), "all: {ends_all}");
        assert_eq!(browser.call("/sso/token").await.status, 401);
    }
}

#[tokio::test]
async fn g17_a_session_of_0_2_0_ends_by_the_username_in_its_tokens() {
    let (world, mut browser) = signed_in().await;
    world.sql("UPDATE sessions SET username = NULL");
    assert_eq!(browser.call("/sso/token").await.status, 200);
    end_now(&world, false).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
}
