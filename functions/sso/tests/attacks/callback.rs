//! Tests which callbacks complete a login.

use base64::Engine as _;
use flexgate_test_support::Browser;
use serde_json::json;

use crate::{SESSION, at_callback, exchanges, fresh, logins, process, with_parameter};

const NO_LOGIN: (u16, &str) = (400, "login_invalid");

fn code(problem: &(u16, String)) -> (u16, &str) {
    (problem.0, problem.1.as_str())
}

#[tokio::test]
async fn a_login_of_this_browser_ends_signed_in_where_it_wanted_to_go() {
    let (world, mut browser, callback) = at_callback().await;
    let reply = browser.get(&callback).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/desk"));
    assert!(browser.cookies.contains_key(SESSION));
    assert!(logins(&browser).is_empty(), "the login is done with");
    let token = browser.call("/sso/token").await;
    assert_eq!(token.status, 200);
    let token = token.body;
    assert_eq!((token["username"].as_str(), &token["roles"]), (Some("ada"), &json!(["agent"])));
    for name in
        ["identity", "flex_user_sid", "worker_sid", "account_sid", "instance_sid", "sso_profile_sid", "expires_at"]
    {
        assert!(token[name].is_string(), "{name}");
    }
    assert_eq!(exchanges(&world).await, 1);
}

#[tokio::test]
async fn s01_without_the_login_cookie() {
    let (world, _, callback) = at_callback().await;
    let mut stranger = Browser::new(process(&world));
    let reply = stranger.get(&callback).await;
    assert_eq!(code(&reply.problem()), NO_LOGIN);
    assert!(!stranger.cookies.contains_key(SESSION));
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s02_without_state() {
    let (world, mut browser, callback) = at_callback().await;
    let reply = browser.get(&with_parameter(&callback, "state", None)).await;
    assert_eq!(code(&reply.problem()), NO_LOGIN);
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s03_state_of_a_login_of_another_browser() {
    let (world, mut victim, victims) = at_callback().await;
    let mut attacker = Browser::new(process(&world));
    let authorize = attacker.begin("/sso/default/login").await;
    let attackers = attacker.authenticate(&world, &authorize, Some("grace")).await;
    let state = attackers.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let reply = victim.get(&with_parameter(&victims, "state", Some(state))).await;
    assert_eq!(code(&reply.problem()), NO_LOGIN);
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s03_code_of_another_login_of_the_same_browser() {
    let (world, mut browser, first) = at_callback().await;
    let authorize = browser.begin("/sso/default/login").await;
    let second = browser.authenticate(&world, &authorize, Some("grace")).await;
    let parameters: std::collections::HashMap<_, _> =
        form_urlencoded::parse(second.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    let reply = browser.get(&with_parameter(&first, "code", Some(&parameters["code"]))).await;
    // The code belongs to the second login, but the `state` in the callback belongs to the first. So Flexgate sends the
    // first login's verifier with the code, and Twilio refuses the code.
    assert_eq!(code(&reply.problem()), NO_LOGIN);
    assert_eq!(logins(&browser).len(), 1, "the other login is still under way");
    assert!(!browser.cookies.contains_key(SESSION));
}

#[tokio::test]
async fn s08_begun_under_one_profile_and_finished_at_anothers_callback() {
    let (world, mut browser, callback) = at_callback().await;
    let reply = browser.get(&callback.replace("/sso/default/", "/sso/second/")).await;
    assert_eq!(code(&reply.problem()), NO_LOGIN);
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s09_code_or_state_twice() {
    let (world, mut browser, callback) = at_callback().await;
    for twice in ["&code=another", "&state=another"] {
        let reply = browser.get(&format!("{callback}{twice}")).await;
        assert_eq!(code(&reply.problem()), (400, "query_invalid"), "{twice}");
    }
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s10_both_code_and_error() {
    let (world, mut browser, callback) = at_callback().await;
    let reply = browser.get(&format!("{callback}&error=access_denied")).await;
    assert_eq!(code(&reply.problem()), (400, "query_invalid"));
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s11_an_error_is_a_page_that_reflects_nothing() {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login").await;
    let denied = browser.authenticate(&world, &authorize, None).await;
    let denied = with_parameter(&denied, "error_description", Some("<script>alert(1)</script>"));
    let request = http::Request::get(&denied).header("accept", "text/html,*/*;q=0.8");
    let reply = browser.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (403, "text/html; charset=utf-8"));
    assert!(reply.text.contains("login_refused") && reply.text.contains(reply.header("x-request-id")));
    assert!(!reply.text.contains("script") && !reply.text.contains("access_denied"), "{}", reply.text);
    assert!(reply.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(!browser.cookies.contains_key(SESSION));

    let mut stranger = Browser::new(process(&world));
    assert_eq!(code(&stranger.get(&denied).await.problem()), NO_LOGIN);
}

#[tokio::test]
async fn s12_the_callback_replayed() {
    let (world, mut browser, callback) = at_callback().await;
    let before = browser.clone();
    assert_eq!(browser.get(&callback).await.status, 303);
    let session = browser.cookies[SESSION].clone();
    let again = browser.get(&callback).await;
    assert_eq!((again.status.as_u16(), again.header("location")), (303, "/"));
    assert_eq!(browser.cookies[SESSION], session, "the session is not touched");
    assert!(again.set_cookies().is_empty());
    // This copy of the browser still has the login cookie, but no session. Even in another process, it gets an error,
    // because the login's code has already been exchanged.
    let mut replaying = before.at(process(&world));
    assert_eq!(code(&replaying.get(&callback).await.problem()), NO_LOGIN);
    assert_eq!(exchanges(&world).await, 1);
}

#[tokio::test]
async fn s12_the_callback_twice_at_once_exchanges_once() {
    let (world, browser, callback) = at_callback().await;
    let (mut one, mut other) = (browser.at(process(&world)), browser.at(process(&world)));
    let (one, other) = tokio::join!(one.get(&callback), other.get(&callback));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 400]);
    assert_eq!(exchanges(&world).await, 1);
}

#[tokio::test]
async fn s13_somebody_elses_code_injected_into_this_login() {
    let (world, mut victim, victims) = at_callback().await;
    let mut attacker = Browser::new(process(&world));
    let authorize = attacker.begin("/sso/default/login").await;
    let attackers = attacker.authenticate(&world, &authorize, Some("grace")).await;
    let code_of_attacker = form_urlencoded::parse(attackers.split_once('?').unwrap().1.as_bytes())
        .find(|(key, _)| key == "code")
        .unwrap()
        .1
        .into_owned();
    let reply = victim.get(&with_parameter(&victims, "code", Some(&code_of_attacker))).await;
    assert_eq!(code(&reply.problem()), (401, "login_rejected"));
    assert!(!victim.cookies.contains_key(SESSION));
}

#[tokio::test]
async fn s20_a_ninth_login_drops_the_oldest_and_the_newest_eight_work() {
    let (world, mut browser) = fresh().await;
    let mut callbacks = Vec::new();
    for _ in 0..9 {
        world.clock.advance(time::Duration::SECOND);
        let authorize = browser.begin("/sso/default/login").await;
        callbacks.push(browser.authenticate(&world, &authorize, Some("ada")).await);
    }
    assert_eq!(logins(&browser).len(), 8);
    assert_eq!(code(&browser.get(&callbacks[0]).await.problem()), NO_LOGIN);
    for callback in &callbacks[1..] {
        assert_eq!(browser.get(callback).await.status, 303);
    }
    assert!(logins(&browser).is_empty());
}

#[tokio::test]
async fn s21_two_tabs_finish_in_reverse_order() {
    let (world, mut browser) = fresh().await;
    let first = browser.begin("/sso/default/login?return_to=/first").await;
    let second = browser.begin("/sso/default/login?return_to=/second").await;
    let first = browser.authenticate(&world, &first, Some("ada")).await;
    let second = browser.authenticate(&world, &second, Some("ada")).await;
    let reply = browser.get(&second).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/second"));
    let reply = browser.get(&first).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/first"));
}

#[tokio::test]
async fn a_twilio_that_writes_state_anew_still_signs_in() {
    let (world, mut browser, callback) = at_callback().await;
    let state = form_urlencoded::parse(callback.split_once('?').unwrap().1.as_bytes())
        .find(|(key, _)| key == "state")
        .unwrap()
        .1
        .into_owned();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let object: serde_json::Value = serde_json::from_slice(&engine.decode(state).unwrap()).unwrap();
    let anew = engine.encode(object.to_string());
    let reply = browser.get(&with_parameter(&callback, "state", Some(&anew))).await;
    assert_eq!(reply.status, 303, "{}", reply.text);
    assert_eq!(exchanges(&world).await, 1);
}

#[tokio::test]
async fn s22_the_attackers_callback_in_the_victims_browser() {
    let (world, _, attackers) = at_callback().await;
    let mut victim = Browser::new(process(&world));
    victim.begin("/sso/default/login").await;
    let reply = victim.get(&attackers).await;
    assert_eq!(code(&reply.problem()), NO_LOGIN);
    assert!(!victim.cookies.contains_key(SESSION));
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s26_the_callback_leaves_nothing_in_a_referer() {
    let (_world, mut browser, callback) = at_callback().await;
    let reply = browser.get(&callback).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/desk"));
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert!(reply.text.is_empty());
}
