//! Tests changed, exchanged, expired and oversized cookies.

use axum::body::Body;
use flexgate_test_support::{Browser, GATEWAY};
use http::Request;
use proptest::prelude::*;
use time::Duration;

use crate::{LOGIN, SESSION, at_callback, exchanges, fresh, login_line, logins, process, process_with, signed_in};

#[tokio::test]
async fn s04_one_second_past_its_age() {
    let (world, mut in_time, callback) = at_callback().await;
    world.clock.advance(Duration::seconds(600));
    // Twilio's codes are valid for only one minute. Set Twilio's clock back, so that the code is still valid after ten
    // minutes on Flexgate's clock.
    world.shift_simulator(-600).await;
    assert_eq!(in_time.get(&callback).await.status, 303);

    let (world, mut late, callback) = at_callback().await;
    world.clock.advance(Duration::seconds(601));
    let reply = late.get(&callback).await;
    assert_eq!(reply.problem(), (400, "login_invalid".into()));
    assert!(login_line(&reply).contains("Max-Age=0"), "the cookie is cleared");
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s05_altered_in_any_part() {
    let (world, browser, callback) = at_callback().await;
    let mut stranger = Browser::new(process(&world));
    let without = stranger.get(&callback).await.body;
    let name = logins(&browser)[0].clone();
    let sealed = browser.cookies[&name].clone();
    let parts: Vec<_> = sealed.split('.').collect();
    let flip = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let last = parts[2].len() - 2;
    for altered in [
        format!("v2.{}.{}", parts[1], parts[2]),
        format!("v1.2.{}", parts[2]),
        format!("v1.1.{}", flip(parts[2], 3)),
        format!("v1.1.{}", flip(parts[2], 20)),
        format!("v1.1.{}", flip(parts[2], last)),
        String::new(),
        sealed[..sealed.len() - 4].to_owned(),
    ] {
        let mut tampered = browser.clone();
        tampered.cookies.insert(name.clone(), altered.clone());
        let mut answer = tampered.get(&callback).await.body;
        answer["request_id"] = without["request_id"].clone();
        assert_eq!(answer, without, "{altered}: the same answer as without a cookie");
    }
    assert_eq!(exchanges(&world).await, 0);
}

#[tokio::test]
async fn s06_sealed_by_the_previous_key_and_by_a_retired_one() {
    let (world, browser, callback) = at_callback().await;
    let mut retired = browser.clone();
    world.write_keys("2", &[("2", 9), ("1", 7)]);
    assert_eq!(browser.at(process(&world)).get(&callback).await.status, 303);
    world.write_keys("2", &[("2", 9)]);
    retired = retired.at(process(&world));
    assert_eq!(retired.get(&callback).await.problem(), (400, "login_invalid".into()));
}

#[tokio::test]
async fn s07_moved_from_another_cookie_or_host() {
    let (world, browser, callback) = at_callback().await;
    let elsewhere = process_with(&world, &[("FLEXGATE_PUBLIC_URL", "http://localhost:9999")]);
    let reply = browser.at(elsewhere).get(&callback).await;
    assert_eq!(reply.problem(), (400, "login_invalid".into()));

    let mut moved = browser.clone();
    let name = logins(&moved)[0].clone();
    let sealed = moved.cookies.remove(&name).unwrap();
    moved.cookies.insert(SESSION.into(), sealed);
    assert_eq!(moved.get(&callback).await.problem(), (400, "login_invalid".into()));
    assert_eq!(moved.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
}

#[tokio::test]
async fn s23_a_session_cookie_set_before_the_login_changes() {
    let (world, mut browser) = fresh().await;
    browser.cookies.insert(SESSION.into(), "planted".into());
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    let first = browser.cookies[SESSION].clone();
    assert_ne!(first, "planted");
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_ne!(browser.cookies[SESSION], first, "each sign-in has an identifier of its own");
}

#[tokio::test]
async fn s27_an_answer_that_sets_a_cookie_is_never_stored() {
    let (_world, mut browser, callback) = at_callback().await;
    let (world, mut late, too_late) = at_callback().await;
    world.clock.advance(Duration::seconds(601));
    let refused = late.get(&too_late).await;
    let begun = browser.get("/sso/default/login").await;
    let completed = browser.get(&callback).await;
    let ended = browser.call("/sso/logout").await;
    for reply in [begun, completed, refused, ended] {
        assert!(!reply.set_cookies().is_empty());
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn every_cookie_is_bound_to_the_host_and_out_of_a_scripts_reach() {
    let (_world, mut browser, callback) = at_callback().await;
    let begun = browser.get("/sso/default/login").await;
    let completed = browser.get(&callback).await;
    let login = login_line(&begun);
    assert!(login.ends_with("; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax"), "{login}");
    let session = completed.set_cookie(SESSION).unwrap();
    assert!(session.ends_with("; Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Lax"), "{session}");
    let id = session.split(['=', ';']).nth(1).unwrap();
    assert_eq!(id.len(), 43, "256 bits, base64url");
}

#[tokio::test]
async fn s28_no_cookie_and_no_header_grows_too_large() {
    let (_world, mut browser) = fresh().await;
    // `long` is a `return_to` of the maximum length. `longer` exceeds the maximum, so Flexgate replaces it with `/`.
    let long = format!("/{}", "x".repeat(2_047));
    let longer = format!("/{}", "%C3%A9".repeat(400));
    for path in [&long, &long, &long, &longer, &long, &long, &long, &long, &long, &long] {
        let reply = browser.get(&format!("/sso/default/login?return_to={path}")).await;
        assert_eq!(reply.status, 303);
        for line in reply.set_cookies() {
            assert!(line.split(';').next().unwrap().len() <= 150, "{line}");
        }
        let headers: usize = reply.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        assert!(headers <= 10 * 1024, "{headers}");
    }
}

#[tokio::test]
async fn two_cookies_of_one_name_say_nothing() {
    let (_world, mut browser) = signed_in().await;
    let session = browser.cookies.remove(SESSION).unwrap();
    let request = Request::post("/sso/token")
        .header("origin", GATEWAY)
        .header("x-flexgate", "1")
        .header("cookie", format!("{SESSION}={session}; {SESSION}=another"));
    let reply = browser.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.problem(), (401, "not_signed_in".into()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Sends arbitrary cookies and callback queries.
    #[test]
    fn no_cookie_and_no_query_at_all_makes_it_fail(
        cookies in proptest::collection::vec("[ -~]{0,60}", 0..4),
        query in "[!-~]{0,80}",
        named in proptest::bool::ANY,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_world, mut browser) = fresh().await;
            let query: String = query.chars().filter(|c| !matches!(c, '#' | '"' | '<' | '>' | '`' | '{' | '}' | '\\' | '^' | '|')).collect();
            let mut line = cookies.join("; ");
            if named {
                line = format!("{LOGIN}AAAAAAAAAAA=v1.1.{}; {line}", "QUJD".repeat(20));
            }
            let request = Request::get(format!("/sso/default/callback?code=c&state=s&{query}")).header("cookie", line);
            let reply = browser.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(reply.status.as_u16(), 400, "{}", reply.text);
            assert!(!browser.cookies.contains_key(SESSION));
        });
    }
}
