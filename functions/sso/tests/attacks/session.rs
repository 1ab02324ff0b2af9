//! Tests the use, the refresh and the end of sessions.

use axum::body::Body;
use flexgate_test_support::{Browser, GATEWAY, World};
use http::Request;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::{SESSION, fresh, process, process_with, refreshes, signed_in};

fn expires_at(token: &serde_json::Value) -> OffsetDateTime {
    OffsetDateTime::parse(token["expires_at"].as_str().unwrap(), &Rfc3339).unwrap()
}

async fn post(browser: &mut Browser, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    browser.send(request.body(Body::empty()).unwrap()).await.problem()
}

const OURS: [(&str, &str); 2] = [("origin", GATEWAY), ("x-flexgate", "1")];

#[tokio::test]
async fn s24_without_the_header_or_from_elsewhere() {
    let (_world, mut browser) = signed_in().await;
    let refused = (403, "cross_site".to_owned());
    for headers in [
        &[][..],
        &[("origin", GATEWAY)],
        &[("x-flexgate", "1")],
        &[("origin", GATEWAY), ("x-flexgate", "0")],
        &[("origin", "https://evil.example"), ("x-flexgate", "1")],
        &[("origin", "null"), ("x-flexgate", "1")],
        &[("origin", "http://localhost:90000"), ("x-flexgate", "1")],
        &[("origin", GATEWAY), ("x-flexgate", "1"), ("sec-fetch-site", "cross-site")],
        &[("origin", GATEWAY), ("origin", "https://evil.example"), ("x-flexgate", "1")],
    ] {
        assert_eq!(post(&mut browser, "/sso/token", headers).await, refused, "{headers:?}");
    }
    let mut same_site = OURS.to_vec();
    same_site.push(("sec-fetch-site", "same-origin"));
    assert_eq!(post(&mut browser, "/sso/token", &same_site).await.0, 200);
    assert_eq!(
        post(&mut browser, "/sso/token", &[("origin", "https://desk.example"), ("x-flexgate", "1")]).await.0,
        200
    );
}

#[tokio::test]
async fn s29_a_refresh_that_twilio_refuses_ends_the_session() {
    let (world, mut browser) = signed_in().await;
    world.advance(Duration::minutes(57)).await;
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "status", "status": 400, "times": "always" }))
        .await;
    // The old access token is valid for three more minutes. Flexgate returns it and does not ask Twilio again.
    assert_eq!(browser.call("/sso/token").await.status, 200);
    assert_eq!(browser.call("/sso/token").await.status, 200);
    world.advance(Duration::minutes(3)).await;
    let reply = browser.call("/sso/token").await;
    assert_eq!(reply.problem(), (401, "reauthenticate".into()));
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()), "the session is gone");
    world.control("faults", &json!({ "service": "iam", "kind": "status", "status": 500 })).await;
    browser.cookies.insert(SESSION.into(), "gone".into());
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn s29_a_refused_refresh_of_an_expired_token_ends_the_session_at_once() {
    let (world, mut browser) = signed_in().await;
    let mut copy = browser.clone();
    world.advance(Duration::minutes(61)).await;
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "status", "status": 400, "times": "always" }))
        .await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    assert_eq!(copy.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
}

#[tokio::test]
async fn s30_twenty_parallel_calls_refresh_once_over_two_processes() {
    let (world, browser) = signed_in().await;
    world.advance(Duration::minutes(57)).await;
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "delay", "delay_ms": 300 }))
        .await;
    let processes = [process(&world), process(&world)];
    let calls = (0..20).map(|index| {
        let mut browser = browser.at(processes[index % 2].clone());
        tokio::spawn(async move { browser.call("/sso/token").await })
    });
    let mut tokens = std::collections::BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        let reply = call.await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text);
        tokens.insert(reply.body["access_token"].as_str().unwrap().to_owned());
    }
    assert_eq!(tokens.len(), 1, "every answer holds the one new token");
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test]
async fn s31_logout_from_a_foreign_site() {
    let (_world, mut browser) = signed_in().await;
    let foreign = [("origin", "https://evil.example"), ("x-flexgate", "1")];
    assert_eq!(post(&mut browser, "/sso/logout", &foreign).await, (403, "cross_site".into()));
    assert_eq!(post(&mut browser, "/sso/token", &OURS).await.0, 200, "still signed in");
}

#[tokio::test]
async fn s32_the_session_cookie_after_logout() {
    let (world, mut browser) = signed_in().await;
    let mut copy = browser.clone();
    assert_eq!(browser.call("/sso/logout").await.status, 204);
    assert!(!browser.cookies.contains_key(SESSION));
    assert_eq!(copy.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
    assert_eq!(browser.at(process(&world)).call("/sso/logout").await.status, 204, "signing out twice is fine");
}

#[tokio::test]
async fn the_answer_says_when_the_person_signed_in_and_when_the_session_ends() {
    let (world, mut browser) = fresh().await;
    let before = world.clock_rng().now();
    browser.sign_in(&world, "ada").await;
    let after = world.clock_rng().now();
    world.advance(Duration::minutes(70)).await;
    let token = browser.call("/sso/token").await.body;
    let at = |name: &str| OffsetDateTime::parse(token[name].as_str().unwrap(), &Rfc3339).unwrap();
    let (began, ends) = (at("signed_in_at"), at("session_ends_at"));
    // The store may keep whole seconds only.
    assert!(began > before - Duration::SECOND && began <= after, "{began} is not between {before} and {after}");
    assert!((ends - began - Duration::hours(12)).abs() <= Duration::SECOND, "{began} to {ends}");
}

#[tokio::test]
async fn an_eight_hour_shift_is_refreshed_once_an_hour_through_every_fault_and_ends_clearly() {
    let world = World::on_one_clock().await;
    // Let Twilio accept the same refresh token more than once. If each refresh replaced the refresh token, a lost
    // answer would end the session.
    world.switch(&json!({ "sso_max_lifetime_seconds": 8 * 3600, "refresh_rotates": false })).await;
    let lifetimes = [("FLEXGATE_SESSION_SECONDS", "43200"), ("FLEXGATE_SESSION_IDLE_SECONDS", "7200")];
    let mut browser = Browser::new(process_with(&world, &lifetimes));
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    let began = world.clock_rng().now();
    let faults = [
        json!({ "kind": "status", "status": 429 }),
        json!({ "kind": "status", "status": 503 }),
        json!({ "kind": "lost_response" }),
        json!({ "kind": "reset" }),
        json!({ "kind": "delay", "delay_ms": 3500 }),
    ];
    let mut periods = 0;
    let mut expiry = expires_at(&browser.call("/sso/token").await.body);
    // Twilio does not process requests that it answers with 429. Do not count these requests.
    let processed = async || {
        let sent = world.journal("OAuth/Tokens").await;
        let refreshes = sent.iter().filter(|request| request["body"].to_string().contains("RefreshToken"));
        refreshes.filter(|request| request["status"] != 429).count()
    };
    // A page asks for its token every minute. The first attempt to refresh each token fails.
    for minute in 1..=8 * 60 {
        world.advance(Duration::minutes(1)).await;
        let before = processed().await;
        let left = expiry - world.clock_rng().now();
        if left < Duration::minutes(5) && left >= Duration::minutes(4) {
            let mut fault = faults[periods % faults.len()].clone();
            fault["service"] = "services".into();
            fault["path_contains"] = "OAuth/Tokens".into();
            world.fault(&fault).await;
        }
        let reply = browser.call("/sso/token").await;
        let now = world.clock_rng().now();
        if now - began >= Duration::hours(8) {
            assert_eq!(reply.problem(), (401, "reauthenticate".into()), "minute {minute}");
            break;
        }
        assert_eq!(reply.status, 200, "minute {minute}: {}", reply.text);
        let token = reply.body;
        assert!(expires_at(&token) > now, "minute {minute}: a dead token was handed out");
        if expires_at(&token) > expiry {
            periods += 1;
            expiry = expires_at(&token);
        }
        assert!(processed().await - before <= 1, "minute {minute}");
    }
    assert_eq!(world.clock_rng().now() - began, Duration::hours(8), "it lasts the whole shift");
    assert!((7..=9).contains(&periods), "{periods} periods");
    let granted = world.journal("OAuth/Tokens").await;
    let granted =
        granted.iter().filter(|r| r["body"].to_string().contains("RefreshToken") && r["status"] == 200).count();
    // Each period needs one successful refresh. Shortly before the eight hours end, one more refresh may succeed, but
    // its token expires no later than the previous one.
    assert!(granted <= periods + 1, "{granted} refreshes for {periods} periods");
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_costs_no_token_that_is_still_good() {
    let (world, mut browser) = signed_in().await;
    world.switch(&json!({ "refresh_rotates": false })).await;
    let first = browser.call("/sso/token").await.body;
    world.advance(Duration::minutes(56)).await;
    world.fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "lost_response" })).await;
    let during = browser.call("/sso/token").await;
    assert_eq!((during.status.as_u16(), &during.body["access_token"]), (200, &first["access_token"]));
    // For ten seconds after the failure, no process sends another refresh.
    assert_eq!(browser.call("/sso/token").await.body["access_token"], first["access_token"]);
    assert_eq!(refreshes(&world).await, 1);
    world.advance(Duration::seconds(30)).await;
    let after = browser.call("/sso/token").await.body;
    assert!(expires_at(&after) > expires_at(&first));
    assert_eq!(refreshes(&world).await, 2);
}

#[tokio::test]
async fn a_session_ends_when_idle_and_at_its_longest() {
    let (world, mut browser) = signed_in().await;
    let mut idle = browser.clone();
    world.advance(Duration::minutes(119)).await;
    // The access token expired an hour ago, but the session has not ended yet. Flexgate refreshes the token.
    assert_eq!(browser.call("/sso/token").await.status, 200);
    world.advance(Duration::hours(2)).await;
    assert_eq!(idle.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
    assert_eq!(idle.call("/sso/token").await.problem(), (401, "not_signed_in".into()), "it is gone from the store");

    let (world, mut browser) = signed_in().await;
    for _ in 0..11 {
        world.advance(Duration::hours(1)).await;
        assert_eq!(browser.call("/sso/token").await.status, 200);
    }
    world.advance(Duration::hours(1)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
}

#[tokio::test]
async fn sessions_whose_time_is_over_are_removed_at_the_next_sign_in() {
    let (world, _browser) = signed_in().await;
    let count = || {
        let db = rusqlite::Connection::open(world.store_path()).unwrap();
        db.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(), 1);
    world.advance(Duration::hours(13)).await;
    assert_eq!(Browser::new(process(&world)).sign_in(&world, "grace").await.status, 303);
    assert_eq!(count(), 1, "ada's is gone, grace's is there");
}

#[tokio::test]
async fn the_store_holds_no_token_in_clear() {
    let (world, mut browser) = signed_in().await;
    let first = browser.call("/sso/token").await.body;
    world.advance(Duration::minutes(57)).await;
    let second = browser.call("/sso/token").await.body;
    let mut canaries = vec![browser.cookies[SESSION].clone()];
    for token in [&first, &second] {
        canaries.push(token["access_token"].as_str().unwrap().to_owned());
    }
    for request in world.journal("OAuth/Tokens").await {
        for name in ["code", "code_verifier", "refresh_token"] {
            let body = request["body"]
                .as_str()
                .map_or_else(|| request["body"].clone(), |text| serde_json::from_str(text).unwrap());
            canaries.extend(body[name].as_str().map(str::to_owned));
        }
    }
    canaries.push("ada@example.com".to_owned());
    assert!(canaries.len() >= 6, "{canaries:?}");
    let mut files = 0;
    for entry in std::fs::read_dir(world.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("flexgate.db") {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            for canary in &canaries {
                let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "{} holds a canary", path.display());
            }
        }
    }
    assert!(files >= 1);
}

#[tokio::test]
async fn a_hosted_flex_token_is_validated_and_anything_else_is_not() {
    let (world, mut browser) = signed_in().await;
    let token = browser.call("/sso/token").await.body;
    let validate = async |browser: &mut Browser, token: &str| {
        let request = Request::post("/sso/validate").header("content-type", "application/json");
        browser.send(request.body(Body::from(json!({ "token": token }).to_string())).unwrap()).await
    };
    let good = token["access_token"].as_str().unwrap();
    let reply = validate(&mut browser, good).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body["flex_user_sid"], token["flex_user_sid"]);

    let mut altered = good.to_owned();
    altered
        .replace_range(good.len() - 5..good.len() - 4, if good.as_bytes()[good.len() - 5] == b'A' { "B" } else { "A" });
    for bad in ["garbage", altered.as_str()] {
        assert_eq!(validate(&mut browser, bad).await.problem(), (401, "flex_token_invalid".into()));
    }
    assert_eq!(validate(&mut browser, "").await.problem(), (400, "fields_invalid".into()));

    // Twilio answers with status 200, but its answer shows that the token has expired, or that it belongs to another
    // account or another instance. Flexgate refuses such a token.
    let info = |changes: serde_json::Value| {
        let account = world.simulator.account();
        let mut body = json!({
            "account_sid": account.account_sid, "flex_instance_sid": account.instance_sid,
            "flex_user_sid": token["flex_user_sid"], "roles": ["agent"], "expiration": "2999-01-01T00:00:00Z",
        });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": "status", "status": 200, "body": body })
    };
    for lie in [
        json!({ "expiration": "2020-01-01T00:00:00Z" }),
        json!({ "account_sid": "AC00000000000000000000000000000bad" }),
        json!({ "flex_instance_sid": "GO00000000000000000000000000000bad" }),
    ] {
        world.fault(&info(lie.clone())).await;
        assert_eq!(validate(&mut browser, good).await.problem(), (401, "flex_token_invalid".into()), "{lie}");
    }
    world.fault(&json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": "status", "status": 503, "times": "always" })).await;
    assert_eq!(validate(&mut browser, good).await.problem(), (503, "unavailable".into()));
}

#[tokio::test]
async fn without_a_session_there_is_no_token() {
    let (_world, mut browser) = fresh().await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "not_signed_in".into()));
}
