//! Tests the limits of each profile's sessions: one sign-in per person, maximum durations, and networks.

use std::net::IpAddr;

use flexgate_test_support::{Browser, World};
use time::Duration;

use crate::{SESSION, process_with, refreshes};

const SINGLE: [(&str, &str); 1] = [("FLEXGATE_SESSION_POLICIES", r#"{"default": {"sessions_per_person": 1}}"#)];

async fn two_browsers(policies: &[(&str, &str)]) -> (World, Browser, Browser) {
    let world = World::on_one_clock().await;
    let (mut one, mut other) =
        (Browser::new(process_with(&world, policies)), Browser::new(process_with(&world, policies)));
    for browser in [&mut one, &mut other] {
        assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    }
    (world, one, other)
}

fn elsewhere() -> (u16, String) {
    (401, "signed_in_elsewhere".into())
}

#[tokio::test]
async fn g20_the_older_of_two_browsers_is_told_and_never_refreshes() {
    let (world, mut older, mut newer) = two_browsers(&SINGLE).await;
    // Every request from the older browser gets this answer, not only the first one.
    for _ in 0..3 {
        assert_eq!(older.call("/sso/token").await.problem(), elsewhere());
    }
    assert_eq!(newer.call("/sso/token").await.status, 200);
    world.advance(Duration::minutes(57)).await;
    assert_eq!(older.call("/sso/token").await.problem(), elsewhere());
    assert_eq!(refreshes(&world).await, 0, "the older session is not refreshed");
    assert_eq!(newer.call("/sso/token").await.status, 200);
    // The older browser takes over again.
    assert_eq!(older.sign_in(&world, "ada").await.status, 303);
    assert_eq!(older.call("/sso/token").await.status, 200);
    assert_eq!(newer.call("/sso/token").await.problem(), elsewhere());
    // The browser `older` now has the newest session. After this browser has signed out, the browser `newer` still gets
    // no token.
    assert_eq!(older.call("/sso/logout").await.status, 204);
    assert_eq!(newer.call("/sso/token").await.problem(), elsewhere());
}

#[tokio::test]
async fn g20_a_sign_in_elsewhere_during_a_refresh_hands_out_no_new_token() {
    let world = World::on_one_clock().await;
    let mut older = Browser::new(process_with(&world, &SINGLE));
    assert_eq!(older.sign_in(&world, "ada").await.status, 303);
    world.advance(Duration::minutes(57)).await;
    let slow = serde_json::json!({
        "service": "services", "path_contains": "OAuth/Tokens", "kind": "delay", "delay_ms": 1500
    });
    world.fault(&slow).await;
    let refreshing = tokio::spawn(async move { older.call("/sso/token").await });
    world.fault_met().await;
    let mut newer = Browser::new(process_with(&world, &SINGLE));
    assert_eq!(newer.sign_in(&world, "ada").await.status, 303);
    assert_eq!(refreshing.await.unwrap().problem(), elsewhere());
}

#[tokio::test]
async fn g20_of_fifty_sign_ins_at_once_over_two_processes_one_stays() {
    let world = World::on_one_clock().await;
    let processes = [process_with(&world, &SINGLE), process_with(&world, &SINGLE)];
    let mut ready = Vec::new();
    for index in 0..50 {
        let mut browser = Browser::new(processes[index % 2].clone());
        let authorize = browser.begin("/sso/default/login?return_to=/desk").await;
        let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
        ready.push((browser, callback));
    }
    let signing_in = ready.into_iter().map(|(mut browser, callback)| {
        tokio::spawn(async move {
            assert_eq!(browser.get(&callback).await.status, 303);
            browser
        })
    });
    let mut browsers = Vec::new();
    for one in signing_in.collect::<Vec<_>>() {
        browsers.push(one.await.unwrap());
    }
    world.advance(Duration::minutes(57)).await;
    let mut tokens = 0;
    for (index, browser) in browsers.iter().enumerate() {
        let reply = browser.at(processes[(index + 1) % 2].clone()).call("/sso/token").await;
        if reply.status == 200 {
            tokens += 1;
        } else {
            assert_eq!(reply.problem(), elsewhere());
        }
    }
    assert_eq!((tokens, refreshes(&world).await), (1, 1));
}

#[tokio::test]
async fn a_person_may_use_several_browsers_unless_the_profile_says_one() {
    for policies in [&[][..], &[("FLEXGATE_SESSION_POLICIES", r#"{"second": {"sessions_per_person": 1}}"#)]] {
        let (_world, mut one, mut other) = two_browsers(policies).await;
        for browser in [&mut one, &mut other] {
            assert_eq!(browser.call("/sso/token").await.status, 200);
        }
    }
}

#[tokio::test]
async fn other_people_and_other_profiles_keep_their_sessions() {
    let (world, _older, mut ada) = two_browsers(&SINGLE).await;
    let mut grace = Browser::new(process_with(&world, &SINGLE));
    assert_eq!(grace.sign_in(&world, "grace").await.status, 303);
    let mut second = Browser::new(process_with(&world, &SINGLE));
    let authorize = second.begin("/sso/second/login").await;
    let callback = second.authenticate(&world, &authorize, Some("ada")).await;
    assert_eq!(second.get(&callback).await.status, 303);
    for browser in [&mut ada, &mut grace, &mut second] {
        assert_eq!(browser.call("/sso/token").await.status, 200);
    }
}

#[tokio::test]
async fn tabs_of_the_browser_that_signs_in_again_still_get_answers_for_some_seconds() {
    let world = World::on_one_clock().await;
    let mut browser = Browser::new(process_with(&world, &SINGLE));
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    let mut tab = browser.clone();
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    assert_ne!(tab.cookies[SESSION], browser.cookies[SESSION]);
    assert_eq!(tab.call("/sso/token").await.status, 200);
    assert_eq!(browser.call("/sso/token").await.status, 200);
    world.advance(Duration::seconds(11)).await;
    assert_eq!(tab.call("/sso/token").await.status, 401);
    assert_eq!(browser.call("/sso/token").await.status, 200);
}

#[tokio::test]
async fn a_sign_in_without_a_limit_takes_an_earlier_limit_back() {
    let world = World::on_one_clock().await;
    let mut before = Browser::new(process_with(&world, &SINGLE));
    assert_eq!(before.sign_in(&world, "ada").await.status, 303);
    let mut after = Browser::new(process_with(&world, &[]));
    assert_eq!(after.sign_in(&world, "ada").await.status, 303);
    // The limit is switched on again. But the last sign-in happened without the limit, so neither session ends.
    for browser in [&before, &after] {
        assert_eq!(browser.at(process_with(&world, &SINGLE)).call("/sso/token").await.status, 200);
    }
}

#[tokio::test]
async fn a_policy_that_is_switched_on_counts_from_the_persons_next_sign_in() {
    let (world, one, mut other) = two_browsers(&[]).await;
    for browser in [&one, &other] {
        assert_eq!(browser.at(process_with(&world, &SINGLE)).call("/sso/token").await.status, 200);
    }
    other = other.at(process_with(&world, &SINGLE));
    assert_eq!(other.sign_in(&world, "ada").await.status, 303);
    assert_eq!(one.at(process_with(&world, &SINGLE)).call("/sso/token").await.problem(), elsewhere());
}

#[tokio::test]
async fn a_profile_and_a_role_have_shifts_of_their_own() {
    let policies = r#"{"default": {"session_seconds": 14400, "role_seconds": {"agent": 7200}, "idle_seconds": 1800}}"#;
    let world = World::on_one_clock().await;
    let mut browser = Browser::new(process_with(&world, &[("FLEXGATE_SESSION_POLICIES", policies)]));
    let reply = browser.sign_in(&world, "ada").await;
    assert!(reply.set_cookie(SESSION).unwrap().contains("Max-Age=7200"), "ada is an agent");
    for _ in 0..5 {
        world.advance(Duration::minutes(20)).await;
        assert_eq!(browser.call("/sso/token").await.status, 200);
    }
    world.advance(Duration::minutes(20)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()));

    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    world.advance(Duration::minutes(30)).await;
    assert_eq!(browser.call("/sso/token").await.problem(), (401, "reauthenticate".into()), "it was idle");
}

#[tokio::test]
async fn a_role_that_somebody_gets_later_shortens_the_shift_too() {
    let world = World::on_one_clock().await;
    let mut browser = Browser::new(process_with(&world, &[]));
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    // The process with this policy starts only after the sign-in. The policy spells ada's role `agent` in a different
    // case.
    let policies = r#"{"default": {"role_seconds": {"Agent": 7200}}}"#;
    let mut later = browser.at(process_with(&world, &[("FLEXGATE_SESSION_POLICIES", policies)]));
    world.advance(Duration::minutes(119)).await;
    assert_eq!(later.call("/sso/token").await.status, 200);
    world.advance(Duration::minutes(2)).await;
    assert_eq!(later.call("/sso/token").await.problem(), (401, "reauthenticate".into()));
}

#[tokio::test]
async fn g21_a_profile_is_used_only_from_its_networks() {
    let policies = r#"{"default": {"networks": ["203.0.113.0/24", "2001:db8::/32"]}}"#;
    let world = World::on_one_clock().await;
    let router = process_with(&world, &[("FLEXGATE_SESSION_POLICIES", policies)]);
    let forbidden = (403, "network_forbidden".to_owned());
    let mut browser = Browser::new(router.clone());
    let office: Option<IpAddr> = Some("203.0.113.9".parse().unwrap());
    for outside in [None, Some("198.51.100.1".parse().unwrap()), Some("2001:db9::1".parse().unwrap())] {
        browser.address = outside;
        assert_eq!(browser.get("/sso/default/login").await.problem(), forbidden, "{outside:?}");
        assert_eq!(browser.get("/sso/second/login").await.status, 303, "another profile has no networks");
    }
    browser.address = office;
    let authorize = browser.begin("/sso/default/login?return_to=/desk").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    browser.address = None;
    assert_eq!(browser.get(&callback).await.problem(), forbidden, "the code is not used up");
    browser.address = office;
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(browser.call("/sso/token").await.status, 200);
    // A laptop that leaves the office network cannot use its session.
    browser.address = Some("198.51.100.1".parse().unwrap());
    assert_eq!(browser.call("/sso/token").await.problem(), forbidden);
    assert_eq!(browser.call("/sso/logout").await.status, 204, "signing out is always possible");
}

#[tokio::test]
async fn a_session_records_the_network_and_the_browsers_family_and_no_more() {
    for (setting, stored) in [("network", "203.0.113.0/24"), ("full", "203.0.113.77")] {
        let world = World::on_one_clock().await;
        let mut browser = Browser::new(process_with(&world, &[("FLEXGATE_SESSION_ADDRESS", setting)]));
        browser.address = Some("203.0.113.77".parse().unwrap());
        browser.agent = Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
        assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
        let db = rusqlite::Connection::open(world.store_path()).unwrap();
        let row = db.query_row("SELECT username, network, browser, idle_seconds FROM sessions", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, i64>(3)?))
        });
        assert_eq!(row.unwrap(), ("ada".into(), stored.into(), "Firefox".into(), 7200));
    }
}
