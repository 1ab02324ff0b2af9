//! Tests attacks on the start of a login, such as open redirects.

use axum::body::Body;
use flexgate_test_support::GATEWAY;
use http::{Method, Request};

use crate::{LOGIN, fresh, process_with, with_parameter};

const TRICKS: &[&str] = &[
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "/\u{a0}/evil.example",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "http://localhost:9000@evil.example",
    "https://localhost:9000.evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/.//evil.example",
    "/..//evil.example",
    "/%2e%2e//evil.example",
    " /evil",
    "evil.example",
    "//%65vil.example",
    "/\u{0}",
    "@evil.example",
    "?x",
    "//localhost:9000/x",
];

#[tokio::test]
async fn s16_every_trick_of_the_open_redirect_lists() {
    let (world, mut browser) = fresh().await;
    for trick in TRICKS {
        let encoded: String = form_urlencoded::byte_serialize(trick.as_bytes()).collect();
        let authorize = browser.begin(&format!("/sso/default/login?return_to={encoded}")).await;
        let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
        let reply = browser.get(&callback).await;
        let base = url::Url::parse(&format!("{GATEWAY}{callback}")).unwrap();
        let target = base.join(reply.header("location")).unwrap();
        assert_eq!(target.origin(), base.origin(), "{trick:?} led to {target}");
    }
}

#[tokio::test]
async fn s17_userinfo_in_return_to() {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login?return_to=https://app@evil.example").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    assert_eq!(browser.get(&callback).await.header("location"), "/");
}

#[tokio::test]
async fn s18_spoofed_hosts_change_nothing() {
    let (_world, mut browser) = fresh().await;
    for (name, value) in [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "host=evil.example;proto=http"),
    ] {
        let request = Request::get("/sso/default/login").header(name, value);
        let mut reply = browser.send(request.body(Body::empty()).unwrap()).await;
        if name == "host" {
            // Flexgate redirects a request for another host to the configured URL, and sets no cookie.
            let own = reply.header("location").strip_prefix(GATEWAY).unwrap().to_owned();
            assert!(reply.set_cookies().is_empty());
            let request = Request::get(own).header(name, value);
            reply = browser.send(request.body(Body::empty()).unwrap()).await;
        }
        let authorize = url::Url::parse(reply.header("location")).unwrap();
        let redirect = authorize.query_pairs().find(|(key, _)| key == "redirectUrl").unwrap().1.into_owned();
        assert_eq!(redirect, format!("{GATEWAY}/sso/default/callback"), "{name}");
    }
}

#[tokio::test]
async fn s19_by_post_head_or_prefetch() {
    let (_world, mut browser) = fresh().await;
    for method in [Method::POST, Method::HEAD] {
        let request = Request::builder().method(method.clone()).uri("/sso/default/login");
        let reply = browser.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, 405, "{method}");
        assert!(reply.set_cookies().is_empty());
    }
    for (name, value) in [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch")] {
        let request = Request::get("/sso/default/login").header(name, value);
        let reply = browser.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, 204, "{name}");
        assert!(reply.set_cookies().is_empty());
    }
}

#[tokio::test]
async fn the_browser_is_sent_to_twilio_as_its_sdk_would() {
    let (_world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login").await;
    let names: Vec<_> = authorize.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["redirectUrl", "nonce", "codeChallenge", "state", "ssoProfileSid"]);
    assert!(authorize.path().ends_with("/services/v1/Flex/Authorize"));
    let length = |name: &str| authorize.query_pairs().find(|(key, _)| key == name).unwrap().1.len();
    assert_eq!((length("nonce"), length("codeChallenge")), (32, 43));
}

#[tokio::test]
async fn an_unknown_profile_is_404_and_a_repeated_parameter_400() {
    let (_world, mut browser) = fresh().await;
    for route in ["login", "config", "callback?code=1&state=1"] {
        assert_eq!(
            browser.get(&format!("/sso/nobody/{route}")).await.problem(),
            (404, "profile_unknown".into()),
            "{route}"
        );
    }
    let reply = browser.get("/sso/default/login?return_to=/a&return_to=/b").await;
    assert_eq!(reply.problem(), (400, "query_invalid".into()));
}

#[tokio::test]
async fn the_active_configuration_is_used_not_the_first() {
    let (world, mut browser) = fresh().await;
    world.simulator.switch(|switches| switches.config_inactive_first = true);
    let config = browser.get("/sso/default/config").await;
    assert_eq!(config.status, 200);
    let account = world.simulator.account();
    assert_eq!(config.body["connection_name"], account.sso_profile_sid);
    assert_eq!(config.body["client_id"], account.client_id);
    assert_eq!(config.body["active"], true);
    for _ in 0..10 {
        browser.begin("/sso/default/login").await;
    }
    assert_eq!(world.journal("Authentication/Config").await.len(), 1);
}

#[tokio::test]
async fn s25_a_preflight_from_an_unlisted_origin_is_told_nothing() {
    let (_world, mut browser) = fresh().await;
    for (origin, allowed) in [
        ("https://evil.example", false),
        ("null", false),
        ("https://desk.example.evil.example", false),
        ("https://desk.example", true),
        (GATEWAY, true),
    ] {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri("/sso/token")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-flexgate");
        let reply = browser.send(request.body(Body::empty()).unwrap()).await;
        let headers = reply.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).count();
        assert_eq!(headers > 0, allowed, "{origin}");
        let expected = if allowed { origin } else { "" };
        assert_eq!(reply.header("access-control-allow-origin"), expected);
    }
}

#[tokio::test]
async fn a_login_cookie_that_does_not_open_disturbs_no_other() {
    let (world, mut browser) = fresh().await;
    browser.cookies.insert(format!("{LOGIN}AAAAAAAAAAA"), "v1.1.garbage".into());
    let authorize = browser.begin("/sso/default/login").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    assert_eq!(browser.get(&callback).await.status, 303);
}

#[tokio::test]
async fn the_answer_to_a_callback_does_not_depend_on_its_other_parameters() {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    let reply = browser.get(&with_parameter(&callback, "redirect", Some("https://evil.example"))).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/"));
}

#[tokio::test]
async fn over_https_browsers_are_told_to_stay_there() {
    let (world, _) = fresh().await;
    let mut secure =
        flexgate_test_support::Browser::new(process_with(&world, &[("FLEXGATE_PUBLIC_URL", "https://gate.example")]));
    let reply = secure.get("/sso/default/config").await;
    assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
}
