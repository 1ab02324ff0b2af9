//! Tests how `flexgate verify` explains why Twilio did not answer, and what the command refuses to do.

use std::process::Stdio;

use axum::Router;
use axum::extract::Request;
use flexgate_test_support::World;
use http::StatusCode;
use serde_json::{Value, json};

use super::{active, answer, command, err, out, output, report, verify};

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_answer_is_a_clear_line_and_the_user_is_deactivated() {
    let cases = [
        ("garbage", "/Configuration", "the answer is not Twilio's (status 200)"),
        ("garbage", "/Users", "the answer is not Twilio's (status 200)"),
        ("garbage", "/Provision", "the answer is not Twilio's (status 200)"),
        ("garbage", "/Tokens", "the answer is not Twilio's (status 200)"),
        ("garbage", "/Deprovision", "the answer is not Twilio's (status 200)"),
        ("reset", "/Tokens", "the connection broke before"),
        ("huge", "/Tokens", "Twilio's answer is too large"),
    ];
    for (kind, path, expected) in cases {
        let world = World::start().await;
        world.fault(&json!({ "service": "flex-api", "path_contains": path, "kind": kind })).await;
        let output = verify(&world, &[]).await;
        let said = format!("{}{}", out(&output), err(&output));
        assert_eq!(output.status.code(), Some(1), "{kind} {path}: {said}");
        assert!(said.contains(expected), "{kind} {path}: {said}");
        assert_eq!(active(&world).await, Vec::<String>::new(), "{kind} {path}: {said}");
    }
    for (status, path, expected) in [
        (401, "/Configuration", "Twilio does not accept the credential (status 401, code 20003)"),
        (401, "/Tokens", "Twilio does not accept the credential (status 401, code 20003)"),
        (500, "/Tokens", "Twilio is failing (status 500)"),
    ] {
        let world = World::start().await;
        world.fault(&json!({ "service": "flex-api", "path_contains": path, "kind": "status", "status": status })).await;
        let output = verify(&world, &[]).await;
        let said = format!("{}{}", out(&output), err(&output));
        assert_eq!(output.status.code(), Some(1), "{status} {path}: {said}");
        assert!(said.contains(expected), "{status} {path}: {said}");
        assert_eq!(active(&world).await, Vec::<String>::new(), "{status} {path}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_waited_out_and_named_if_it_lasts() {
    let world = World::start().await;
    world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 429, "times": 2 })).await;
    assert_eq!(report(&world).await.0, Some(0));
    let limited =
        json!({ "service": "flex-api", "path_contains": "/Tokens", "kind": "status", "status": 429, "times": 0 });
    world.fault(&limited).await;
    let (code, report) = report(&world).await;
    let minted = answer(&report, "mint_status");
    assert_eq!((code, &minted["verdict"]), (Some(1), &json!("not_asked")), "{minted}");
    assert_eq!(minted["observed"], "Twilio limits the rate (status 429)");
    assert_eq!(answer(&report, "provision_reactivates")["verdict"], "expected", "the other questions are asked");
    assert_eq!(active(&world).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_was_not_reached_says_why() {
    let world = World::start().await;
    world
        .fault(&json!({ "service": "flex-api", "path_contains": "/Provision", "kind": "status", "status": 400 }))
        .await;
    let (code, report) = report(&world).await;
    assert_eq!(code, Some(1));
    assert_eq!(answer(&report, "exchange_error_status")["verdict"], "expected", "asked before");
    let minted = answer(&report, "mint_status");
    assert!(minted["observed"].as_str().unwrap().starts_with("there is no user: status 400, code 20400"), "{minted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_exchanges_need_a_profile() {
    let world = World::start().await;
    let mut command = command(&world, &["--json"]);
    command.env_remove("FLEXGATE_SSO_PROFILES");
    let output = output(command).await;
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(answer(&report, "exchange_error_code")["observed"], "FLEXGATE_SSO_PROFILES is not set");
    assert_eq!(answer(&report, "exchange_profile_status")["verdict"], "expected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_username_that_somebody_may_have_is_refused() {
    let world = World::start().await;
    let body = json!({ "users": [{ "flex_user_sid": format!("FU{}", "1".repeat(32)), "username": "somebody" }] });
    let found = json!({ "service": "flex-api", "method": "GET", "path_contains": "/Users", "kind": "status", "status": 200, "body": body });
    world.fault(&found).await;
    let output = verify(&world, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("so no user was made"), "{}", err(&output));
    assert!(world.journal("rovision").await.is_empty(), "something was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_other_than_the_configured_one_is_refused() {
    let world = World::start().await;
    let mut command = command(&world, &[]);
    command.env("TWILIO_INSTANCE_SID", format!("GO{}", "9".repeat(32)));
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    let said = format!("{}{}", out(&output), err(&output));
    assert!(said.contains("NOT AS DOCUMENTED") && said.contains("does not belong to the configured account"), "{said}");
    assert!(world.journal("rovision").await.is_empty(), "something was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_not_the_simulator_needs_consent() {
    let world = World::start().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().fallback(move |request: Request| {
        let _ = sender.send((request.uri().path().to_owned(), request.headers().contains_key("authorization")));
        async { (StatusCode::NOT_FOUND, "{}") }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut command = command(&world, &["--record", "switches.json"]);
    command.env("FLEXGATE_TWILIO_URL", url).stdin(Stdio::null());
    let output = output(command).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("Use --yes to agree") && err(&output).contains("may bill"), "{}", err(&output));
    assert_eq!(seen.recv().await.unwrap(), ("/__sim".to_owned(), false));
    assert!(seen.try_recv().is_err(), "nothing else was sent");
    assert!(!world.folder().join("switches.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_written_is_refused_before_anything_is_changed() {
    let world = World::start().await;
    let output = verify(&world, &["--record", "no/such/folder/switches.json"]).await;
    assert!(!output.status.success() && err(&output).contains("cannot write no/such/folder"), "{}", err(&output));
    assert!(world.journal("rovision").await.is_empty(), "something was changed");
}
