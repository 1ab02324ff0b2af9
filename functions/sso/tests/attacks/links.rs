//! Tests where a sign-in may start, where it sends the browser at the end, and where the links on error pages lead.

use axum::body::Body;
use flexgate_test_support::{Browser, GATEWAY, Reply};
use http::Request;
use url::Url;

use crate::{at_callback, fresh, login_line, process_with};

async fn ends_at(return_to: &str) -> String {
    let (world, mut browser) = fresh().await;
    let encoded: String = form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    let authorize = browser.begin(&format!("/sso/default/login?return_to={encoded}")).await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    browser.get(&callback).await.header("location").to_owned()
}

async fn page(browser: &mut Browser, path: &str) -> Reply {
    let request = Request::get(path).header("accept", "text/html");
    browser.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn r03_a_callback_without_a_login_offers_to_sign_in_with_that_profile() {
    let (_world, mut browser) = fresh().await;
    for query in ["?code=abc", "", "?code=abc&state=abc", "?state=abc", "?error=access_denied", "?code=a&code=b"] {
        for profile in ["default", "second"] {
            let reply = page(&mut browser, &format!("/sso/{profile}/callback{query}")).await;
            assert_eq!(reply.status, 400, "{query}");
            let link = format!("<a href=\"{GATEWAY}/sso/{profile}/login\">Sign in</a>");
            assert!(reply.text.contains(&link), "{query}: {}", reply.text);
            assert!(!reply.text.contains("href=\"/\""), "there is nothing at / on AWS");
        }
    }
}

#[tokio::test]
async fn r03_a_person_whom_the_identity_provider_refused_may_choose_another_account() {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login").await;
    let declined = browser.authenticate(&world, &authorize, None).await;
    let reply = page(&mut browser, &declined).await;
    let link = format!("<a href=\"{GATEWAY}/sso/default/login?prompt=select_account\">");
    assert!(reply.text.contains(&link), "{}", reply.text);
}

#[tokio::test]
async fn r05_return_to_may_be_on_a_listed_origin_long_or_odd() {
    let long = format!("/desk?{}", "x".repeat(2_000));
    for (return_to, place) in [
        ("https://desk.example/agents?team=1#top", "https://desk.example/agents?team=1#top"),
        (&format!("{GATEWAY}/desk?queue=1"), "/desk?queue=1"),
        (&long, &long),
        ("/desk?path=C:\\calls\\1", "/desk?path=C:\\calls\\1"),
        ("/desk?name=Ada Lovelace", "/desk?name=Ada%20Lovelace"),
        ("https://other.example/", "/"),
        ("https://desk.example.other.example/", "/"),
    ] {
        assert_eq!(ends_at(return_to).await, place, "{return_to}");
    }
}

#[tokio::test]
async fn r05_a_long_address_survives_in_another_process_and_is_lost_without_harm() {
    let long = format!("/desk?{}", "x".repeat(500));
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin(&format!("/sso/default/login?return_to={}", long.replace('?', "%3F"))).await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    // When another login begins, Flexgate removes the return addresses of expired logins. The first login has not
    // expired, so its return address must stay.
    let mut other = browser.clone();
    other.begin(&format!("/sso/default/login?return_to={}", long.replace('?', "%3F"))).await;
    let mut elsewhere = browser.at(crate::process(&world));
    assert_eq!(elsewhere.get(&callback).await.header("location"), long);

    let authorize = browser.begin(&format!("/sso/default/login?return_to={}", long.replace('?', "%3F"))).await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    world.sql("DELETE FROM return_addresses");
    let reply = browser.get(&callback).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/"));
}

#[tokio::test]
async fn r05_an_origin_that_is_no_longer_listed_is_not_gone_to() {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login?return_to=https://desk.example/x").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    let mut changed = browser.at(process_with(&world, &[("FLEXGATE_ALLOWED_ORIGINS", "https://new.example")]));
    assert_eq!(changed.get(&callback).await.header("location"), "/");
}

#[tokio::test]
async fn r05_the_default_address_is_configurable() {
    let (world, _) = fresh().await;
    let router = process_with(&world, &[("FLEXGATE_DEFAULT_RETURN_TO", "https://desk.example/start")]);
    let mut browser = Browser::new(router);
    for login in ["/sso/default/login", "/sso/default/login?return_to=https://evil.example"] {
        let authorize = browser.begin(login).await;
        let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
        assert_eq!(browser.get(&callback).await.header("location"), "https://desk.example/start");
    }
}

#[tokio::test]
async fn r11_a_login_at_another_host_continues_at_the_public_url() {
    let (world, mut browser) = fresh().await;
    for host in ["127.0.0.1:9000", "[::1]:9000", "localhost:9001", "localhost", "gate.internal"] {
        let request = Request::get("/sso/default/login?return_to=%2Fdesk%3Fa%3Db").header("host", host);
        let reply = browser.send(request.body(Body::empty()).unwrap()).await;
        let location: Url = reply.header("location").parse().unwrap();
        assert_eq!(reply.status, 303, "{host}");
        assert!(reply.set_cookies().is_empty(), "no login begins at {host}");
        assert_eq!(location.origin().ascii_serialization(), GATEWAY);
        // Follow the redirect, but with the wrong host again, as if a proxy had replaced the host. Now a login begins.
        let own = location.as_str().strip_prefix(GATEWAY).unwrap();
        let request = Request::get(own).header("host", host);
        let reply = browser.send(request.body(Body::empty()).unwrap()).await;
        assert!(login_line(&reply).contains("Max-Age=600"));
        let authorize = reply.header("location").parse().unwrap();
        let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
        assert_eq!(browser.get(&callback).await.header("location"), "/desk?a=b");
    }
    let request = Request::get("/sso/default/login").header("host", "LOCALHOST:9000");
    assert!(login_line(&browser.send(request.body(Body::empty()).unwrap()).await).contains("Max-Age=600"));
}

#[tokio::test]
async fn r12_a_prompt_is_passed_on_to_twilio() {
    let (_world, mut browser) = fresh().await;
    for prompt in ["login", "select_account"] {
        let authorize = browser.begin(&format!("/sso/default/login?prompt={prompt}")).await;
        let passed = authorize.query_pairs().find(|(name, _)| name == "prompt").unwrap().1.into_owned();
        assert_eq!(passed, prompt);
    }
    for other in ["none", "consent", "login%20consent", ""] {
        let reply = browser.get(&format!("/sso/default/login?prompt={other}")).await;
        assert_eq!(reply.problem(), (400, "query_invalid".into()), "{other}");
    }
}

#[tokio::test]
async fn r15_a_malformed_path_is_a_problem_or_a_page() {
    let (_world, mut browser, _) = at_callback().await;
    for path in ["/sso/%ff/login", "/sso/%ff/callback", "/sso/%c3%28/config", "/sso/%80/login?return_to=/"] {
        assert_eq!(browser.get(path).await.problem(), (404, "route_unknown".into()), "{path}");
        let reply = page(&mut browser, path).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        assert!(reply.text.contains("route_unknown"));
    }
}
