//! The bootstraps that cargo has built, under a Lambda runtime API of our own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use flexgate_lambda_tests::{Function, Outcome, event};
use flexgate_test_support::{GATEWAY, World, free_port};
use serde_json::{Value, json};

const TIME: Duration = Duration::from_secs(10);

/// The built binary: beside the folder of this very test.
fn bootstrap(name: &str) -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    folder.join(format!("flexgate-{name}"))
}

fn answer(outcome: Outcome) -> (u64, Value) {
    let Outcome::Response(response) = outcome else { unreachable!("{outcome:?}") };
    let body = serde_json::from_str(response["body"].as_str().unwrap_or_default()).unwrap_or_default();
    (response["statusCode"].as_u64().unwrap(), body)
}

async fn sso(world: &World) -> Function {
    Function::start(&bootstrap("sso"), &world.variables()).await
}

fn validate() -> Value {
    event("POST", "/sso/validate", &json!({}), Some(&json!({ "token": "not.a.token" })))
}

#[tokio::test]
async fn every_function_answers_and_ends_on_sigterm() {
    let world = World::start().await;
    for name in ["sso", "mint", "provision"] {
        let mut function = Function::start(&bootstrap(name), &world.variables()).await;
        let (status, body) = answer(function.invoke(&event("GET", "/health", &json!({}), None), TIME).await);
        assert_eq!((status, body["function"].as_str()), (200, Some(name)));
        let (status, body) = answer(function.invoke(&event("GET", "/nothing", &json!({}), None), TIME).await);
        assert_eq!((status, body["code"].as_str()), (404, Some("route_unknown")));
        assert!(function.lives());
        function.terminate().await;
    }
}

#[tokio::test]
async fn a_slow_upstream_is_a_504_before_the_functions_time_is_over() {
    let world = World::start().await;
    let slow = json!({ "service": "flex-api", "kind": "delay", "delay_ms": 8000, "times": "always" });
    world.fault(&slow).await;
    let mut function = sso(&world).await;
    let _warm = function.invoke(&event("GET", "/health", &json!({}), None), TIME).await;
    let began = Instant::now();
    let (status, body) = answer(function.invoke(&validate(), Duration::from_millis(2_000)).await);
    assert_eq!((status, body["code"].as_str()), (504, Some("timeout")));
    assert!(began.elapsed() < Duration::from_millis(2_000), "{:?}", began.elapsed());
    assert!(function.lives());
}

#[tokio::test]
async fn a_request_that_makes_lambda_http_panic_costs_one_answer_and_no_more() {
    let world = World::start().await;
    let mut function = sso(&world).await;
    for headers in [json!({ "host": "a b" }), json!({ "host": "http://" }), json!({ "x-forwarded-proto": "ht tp" })] {
        let strange = function.invoke(&event("GET", "/health", &headers, None), TIME).await;
        assert!(!matches!(&strange, Outcome::Response(response) if response["statusCode"] == 200), "{strange:?}");
        let (status, _) = answer(function.invoke(&event("GET", "/health", &json!({}), None), TIME).await);
        assert_eq!(status, 200, "the next request is served, after {headers}");
        assert!(function.lives());
    }
}

#[tokio::test]
async fn a_table_out_of_reach_is_a_503_in_time() {
    let world = World::start().await;
    let mut variables = world.variables();
    variables.retain(|(name, _)| *name != "FLEXGATE_STORE");
    variables.extend([
        ("FLEXGATE_STORE", "dynamodb:flexgate".to_owned()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", free_port())),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ]);
    let mut function = Function::start(&bootstrap("sso"), &variables).await;
    let session = "A".repeat(43);
    let headers =
        json!({ "origin": GATEWAY, "x-flexgate": "1", "cookie": format!("__Host-flexgate-session={session}") });
    let (status, body) = answer(function.invoke(&event("POST", "/sso/token", &headers, None), TIME).await);
    assert_eq!((status, body["code"].as_str()), (503, Some("unavailable")), "{body}");
    assert!(function.lives());
}
