//! Tests logins in several tabs at once, and callbacks without a login.

use axum::body::Body;
use flexgate_test_support::{Browser, GATEWAY, World};
use http::Request;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use time::Duration;

use crate::{SESSION, at_callback, exchanges, fresh, logins, process, signed_in, with_parameter};

/// Begins `count` logins at once, like a browser that restores its tabs. No request carries another login's cookie.
/// Returns the callbacks in the order in which the logins began.
async fn restored(world: &World, browser: &mut Browser, count: usize) -> Vec<String> {
    let before = browser.clone();
    let mut callbacks = Vec::new();
    for tab in 0..count {
        let mut alone = before.clone();
        let authorize = alone.begin(&format!("/sso/default/login?return_to=/tab/{tab}")).await;
        callbacks.push(alone.authenticate(world, &authorize, Some("ada")).await);
        browser.cookies.extend(alone.cookies);
    }
    callbacks
}

#[tokio::test]
async fn r01_two_tabs_restored_at_once_both_sign_in_in_the_order_begun() {
    let (world, mut browser) = fresh().await;
    let callbacks = restored(&world, &mut browser, 2).await;
    for (tab, callback) in callbacks.iter().enumerate() {
        let reply = browser.get(callback).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, format!("/tab/{tab}").as_str()));
    }
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn r01_eight_tabs_finish_in_every_order() {
    let mut runner = TestRunner::deterministic();
    let orders = Just((0..8).collect::<Vec<_>>()).prop_shuffle();
    let world = World::on_one_clock().await;
    let router = process(&world);
    for _ in 0..200 {
        let mut browser = Browser::new(router.clone());
        let callbacks = restored(&world, &mut browser, 8).await;
        for tab in orders.new_tree(&mut runner).unwrap().current() {
            let reply = browser.get(&callbacks[tab]).await;
            assert_eq!((reply.status.as_u16(), reply.header("location")), (303, format!("/tab/{tab}").as_str()));
        }
        assert!(logins(&browser).is_empty(), "every callback clears its own cookie");
    }
}

#[tokio::test]
async fn r01_eight_callbacks_at_once_all_sign_in_over_two_processes() {
    let (world, mut browser) = fresh().await;
    let callbacks = restored(&world, &mut browser, 8).await;
    let processes = [process(&world), process(&world)];
    let sent = callbacks.into_iter().enumerate().map(|(tab, callback)| {
        let mut browser = browser.at(processes[tab % 2].clone());
        tokio::spawn(async move { browser.get(&callback).await })
    });
    for (tab, answered) in sent.collect::<Vec<_>>().into_iter().enumerate() {
        let reply = answered.await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, format!("/tab/{tab}").as_str()));
    }
}

#[tokio::test]
async fn r01_thirty_tabs_at_once_sign_in_and_their_cookies_are_small() {
    let (world, mut browser) = fresh().await;
    let callbacks = restored(&world, &mut browser, 30).await;
    let line: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    assert!(line < 10_240 / 2, "{line} bytes");
    // The browser sends all callbacks before the first answer arrives.
    for callback in &callbacks {
        assert_eq!(browser.clone().get(callback).await.status, 303);
    }
    // The next answer clears all login cookies except the newest eight.
    assert_eq!(browser.get(&callbacks[0]).await.status, 400, "the code was used above");
    assert!(logins(&browser).len() <= 8, "{}", logins(&browser).len());
}

#[tokio::test]
async fn r01_the_ninth_tab_costs_no_login_once_one_has_finished() {
    let (world, mut browser) = fresh().await;
    let callbacks = restored(&world, &mut browser, 9).await;
    assert_eq!(browser.get(&callbacks[8]).await.status, 303);
    assert_eq!(logins(&browser).len(), 8);
    for callback in &callbacks[..8] {
        assert_eq!(browser.get(callback).await.status, 303);
    }
}

#[tokio::test]
async fn r01_a_page_that_asks_for_its_token_clears_the_cookies_over_eight() {
    let (world, mut browser) = signed_in().await;
    for _ in 0..8 {
        world.clock.advance(Duration::SECOND);
        browser.begin("/sso/default/login").await;
    }
    let odd = format!("{}AAAAAAAAAAA", crate::LOGIN);
    browser.cookies.insert(odd.clone(), "v1.1.garbage".into());
    assert_eq!(browser.call("/sso/token").await.status, 200);
    assert_eq!(logins(&browser).len(), 8);
    assert!(!browser.cookies.contains_key(&odd), "a cookie that does not open counts as the oldest");
}

#[tokio::test]
async fn r01_an_old_login_of_another_profile_counts_among_the_eight() {
    let (world, mut browser) = fresh().await;
    let other = browser.begin("/sso/second/login").await;
    let other = browser.authenticate(&world, &other, Some("ada")).await;
    for _ in 0..8 {
        world.clock.advance(Duration::SECOND);
        browser.begin("/sso/default/login").await;
    }
    assert_eq!(logins(&browser).len(), 8);
    assert_eq!(browser.get(&other).await.problem(), (400, "login_invalid".into()));
}

#[tokio::test]
async fn r02_a_finished_callback_opened_again_leaves_another_tabs_login_alone() {
    let (world, mut browser, finished) = at_callback().await;
    assert_eq!(browser.get(&finished).await.status, 303);
    let authorize = browser.begin("/sso/default/login?return_to=/other").await;
    let session = browser.cookies[SESSION].clone();
    let again = browser.get(&finished).await;
    assert_eq!((again.status.as_u16(), again.header("location")), (303, "/"));
    assert_eq!(browser.cookies[SESSION], session);
    let other = browser.authenticate(&world, &authorize, Some("ada")).await;
    let reply = browser.get(&other).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/other"));
    assert_eq!(exchanges(&world).await, 2);
}

#[tokio::test]
async fn r02_a_callback_of_no_login_clears_no_cookie() {
    let (world, mut browser, callback) = at_callback().await;
    let mut stranger = Browser::new(process(&world));
    let authorize = stranger.begin("/sso/default/login").await;
    let foreign = stranger.authenticate(&world, &authorize, Some("grace")).await;
    for query in ["", "?code=abc", "?state=x", "?code=abc&state=x", "?error=access_denied", "?error=x&state=y"] {
        let reply = browser.get(&format!("/sso/default/callback{query}")).await;
        assert_eq!(reply.problem(), (400, "login_invalid".into()), "{query}");
        assert!(reply.set_cookies().is_empty(), "{query}");
    }
    assert_eq!(browser.get(&foreign).await.problem(), (400, "login_invalid".into()));
    assert_eq!(browser.get(&callback).await.status, 303, "the pending login is untouched");
}

/// Grace signs in with a browser that still has ada's session, but her login expires before the callback.
#[tokio::test]
async fn r02_a_login_that_failed_does_not_look_like_a_success() {
    let (world, mut browser) = signed_in().await;
    let authorize = browser.begin("/sso/default/login?prompt=select_account").await;
    let callback = browser.authenticate(&world, &authorize, Some("grace")).await;
    world.clock.advance(Duration::seconds(601));
    assert_eq!(browser.get(&callback).await.problem(), (400, "login_invalid".into()));
    assert_eq!(browser.get("/sso/default/callback?code=x").await.problem(), (400, "login_invalid".into()));
}

#[tokio::test]
async fn r02_a_finished_callback_stays_finished_after_further_logins() {
    let (world, mut browser, finished) = at_callback().await;
    assert_eq!(browser.get(&finished).await.status, 303);
    assert_eq!(browser.sign_in(&world, "grace").await.status, 303);
    let again = browser.get(&finished).await;
    assert_eq!((again.status.as_u16(), again.header("location")), (303, "/"));
    assert_eq!(browser.call("/sso/token").await.is(200)["username"], "grace", "nothing changes");
}

#[tokio::test]
async fn r02_a_session_that_has_ended_does_not_count_as_signed_in() {
    let (world, mut browser, callback) = at_callback().await;
    assert_eq!(browser.get(&callback).await.status, 303);
    world.advance(Duration::hours(3)).await;
    assert_eq!(browser.get(&callback).await.problem(), (400, "login_invalid".into()));
    browser.cookies.insert(SESSION.into(), "invented".into());
    assert_eq!(browser.get(&callback).await.problem(), (400, "login_invalid".into()));
}

/// A `state` that contains no login's number is easy to guess. So an attacker can make somebody's browser open the
/// callback with such a `state`. This must not harm the login that the browser has begun.
#[tokio::test]
async fn r02_a_forged_callback_without_a_number_does_not_spoil_the_login_under_way() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (world, mut browser, callback) = at_callback().await;
    let redirect_url = format!("{GATEWAY}/sso/default/callback");
    let state = serde_json::json!({ "connection_name": "x", "redirect_url": redirect_url }).to_string();
    let state = URL_SAFE_NO_PAD.encode(state);
    for _ in 0..2 {
        let forged = browser.get(&format!("/sso/default/callback?code=forged&state={state}")).await;
        assert!(forged.status.is_client_error(), "{}", forged.text);
        assert!(forged.set_cookies().is_empty());
    }
    assert_eq!(exchanges(&world).await, 1, "the same forged code is sent only once");
    for code in 0..5 {
        browser.get(&format!("/sso/default/callback?code={code}&state={state}")).await;
    }
    assert_eq!(exchanges(&world).await, 3, "a login sends at most three codes that come without a number");
    assert_eq!(browser.get(&callback).await.status, 303);
    // Without a number in `state`, Flexgate uses the profile's newest login, whatever the order of the cookies.
    let first = browser.begin("/sso/default/login?return_to=/first").await;
    world.clock.advance(Duration::SECOND);
    let second = browser.begin("/sso/default/login?return_to=/second").await;
    for (authorize, place) in [(second, "/second"), (first, "/first")] {
        let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
        let reply = browser.get(&with_parameter(&callback, "state", Some(&state))).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (303, place));
    }
}

#[tokio::test]
async fn r04_a_cookie_of_another_application_harms_nobody() {
    let (_world, browser) = signed_in().await;
    let session = &browser.cookies[SESSION];
    for odd in ["visitor=José", "visitor=\u{1f600}", "=", ";;", "x", "a=b=c", "__Host-flexgate-login-?=1"] {
        for line in [format!("{odd}; {SESSION}={session}"), format!("{SESSION}={session}; {odd}")] {
            let mut browser = browser.clone();
            browser.cookies.clear();
            let request = Request::post("/sso/token").header("origin", GATEWAY).header("x-flexgate", "1");
            let request = request.header("cookie", line.as_bytes()).body(Body::empty()).unwrap();
            assert_eq!(browser.send(request).await.status, 200, "{line}");
        }
    }
    // The other application's cookie may also contain bytes that are not valid UTF-8.
    let line = [&b"visitor=\xff\xfe; "[..], SESSION.as_bytes(), b"=", session.as_bytes()].concat();
    let mut browser = browser.clone();
    browser.cookies.clear();
    let request =
        Request::post("/sso/token").header("origin", GATEWAY).header("x-flexgate", "1").header("cookie", line);
    assert_eq!(browser.send(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn r04_a_login_completes_beside_such_a_cookie() {
    let (_world, browser, callback) = at_callback().await;
    let mut line = b"visitor=\xe9; ".to_vec();
    for (name, value) in &browser.cookies {
        line.extend(format!("{name}={value}").bytes());
    }
    let mut browser = browser.clone();
    browser.cookies.clear();
    let request = Request::get(&callback).header("cookie", line).body(Body::empty()).unwrap();
    assert_eq!(browser.send(request).await.status, 303);
}

#[tokio::test]
async fn r13_a_second_login_in_the_same_browser_ends_the_first_session() {
    let (world, mut browser) = signed_in().await;
    let mut first = browser.clone();
    assert_eq!(browser.sign_in(&world, "grace").await.status, 303);
    let refused = first.call("/sso/token").await;
    assert_eq!(refused.problem(), (401, "not_signed_in".into()));
    // This answer may arrive after the answer that sets the new session's cookie, so it must not clear the cookie.
    assert!(refused.set_cookies().is_empty());
    assert_eq!(browser.call("/sso/token").await.is(200)["username"], "grace");
}

#[tokio::test]
async fn r13_the_first_session_of_the_same_person_still_answers_requests_under_way() {
    let (world, mut browser) = signed_in().await;
    let mut first = browser.clone();
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_eq!(first.call("/sso/token").await.status, 200);
    world.advance(Duration::seconds(10)).await;
    assert_eq!(first.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn r13_a_login_that_fails_or_of_another_browser_ends_nothing() {
    let (world, mut browser) = signed_in().await;
    let mut other = Browser::new(process(&world));
    assert_eq!(other.sign_in(&world, "ada").await.status, 303);
    assert_eq!(browser.call("/sso/token").await.status, 200, "another browser of the same person");
    let authorize = browser.begin("/sso/default/login").await;
    let declined = browser.authenticate(&world, &authorize, None).await;
    assert_eq!(browser.get(&declined).await.problem(), (403, "login_refused".into()));
    assert_eq!(browser.call("/sso/token").await.status, 200);
    // After declining, the person goes back and signs in.
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    assert_eq!(browser.get(&callback).await.status, 303);
}
