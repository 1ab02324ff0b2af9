//! Sends API Gateway events (HTTP API, payload 2.0) to the function, as Lambda would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use flexgate::lambda::answer_invocation;
use flexgate::web::Edge;
use flexgate_sso::{App, Settings, router};
use flexgate_test_support::World;
use lambda_http::{Body, RequestExt, Response};
use serde_json::Value;

async fn invoke(world: &World, event: Value) -> Response<Body> {
    let mut reader = world.reader();
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let platform = world.platform(&settings.common);
    let router = Edge::new("sso", &settings.common, world.clock_rng()).assemble(router(App::new(&settings, &platform)));
    let mut context = lambda_http::Context::default();
    let now = u64::try_from(world.clock_rng().now().unix_timestamp()).unwrap();
    context.deadline = (now + 10) * 1000;
    let request = lambda_http::request::from_str(&event.to_string()).unwrap().with_lambda_context(context);
    answer_invocation(router, request).await
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn json(response: &Response<Body>) -> Value {
    let Body::Text(text) = response.body() else { return Value::Null };
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn cookies_come_as_a_list_and_queries_decoded_once() {
    let world = World::on_one_clock().await;
    let response = invoke(&world, fixture("callback_two_cookies")).await;
    // Flexgate cannot decrypt this cookie, so this test does not prove that Flexgate reads the cookie. The next test
    // does.
    assert_eq!((response.status().as_u16(), json(&response)["code"].as_str()), (400, Some("login_invalid")));
}

#[tokio::test]
async fn r04_a_whole_login_works_through_events_with_several_cookies() {
    let world = World::on_one_clock().await;
    let mut login = fixture("callback_two_cookies");
    login["rawPath"] = "/sso/default/login".into();
    login["requestContext"]["http"]["path"] = "/sso/default/login".into();
    login["rawQueryString"] = "return_to=%2Fdesk".into();
    login["queryStringParameters"] = serde_json::json!({ "return_to": "/desk" });
    login["headers"]["host"] = "localhost:9000".into();
    login["cookies"] = serde_json::json!(["theme=dark", "visitor=José"]);
    let begun = invoke(&world, login).await;
    assert_eq!(begun.status(), 303);
    let cookie = begun.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let authorize = begun.headers()["location"].to_str().unwrap().parse().unwrap();

    let browser = flexgate_test_support::Browser::new(axum::Router::new());
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    let mut event = fixture("callback_two_cookies");
    let query = callback.split_once('?').unwrap().1;
    let decoded: std::collections::HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    event["rawQueryString"] = query.into();
    event["queryStringParameters"] = serde_json::json!(decoded);
    event["cookies"] = serde_json::json!(["visitor=José", "theme=dark", cookie]);
    let completed = invoke(&world, event).await;
    assert_eq!((completed.status().as_u16(), completed.headers()["location"].to_str().unwrap()), (303, "/desk"));
    // The response has two `Set-Cookie` headers.
    assert_eq!(completed.headers().get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn r15_a_malformed_path_is_a_problem_document_on_lambda_too() {
    let world = World::on_one_clock().await;
    let mut event = fixture("callback_two_cookies");
    event["rawPath"] = "/sso/%ff/login".into();
    event["requestContext"]["http"]["path"] = "/sso/%ff/login".into();
    let response = invoke(&world, event).await;
    assert_eq!((response.status().as_u16(), json(&response)["code"].as_str()), (404, Some("route_unknown")));
}

#[tokio::test]
async fn a_body_in_base64_is_decoded() {
    let world = World::on_one_clock().await;
    let response = invoke(&world, fixture("validate_base64_body")).await;
    assert_eq!((response.status().as_u16(), json(&response)["code"].as_str()), (401, Some("flex_token_invalid")));
    let asked = world.journal("Tokens/Info").await;
    assert!(asked[0]["body"].to_string().contains("garbage"), "Twilio was asked about the decoded token");
}

#[tokio::test]
async fn the_invocations_deadline_is_the_requests() {
    let world = World::on_one_clock().await;
    world
        .fault(&serde_json::json!({ "service": "flex-api", "kind": "delay", "delay_ms": 600_000, "times": "always" }))
        .await;
    let mut reader = world.reader();
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let platform = world.platform(&settings.common);
    let router = Edge::new("sso", &settings.common, world.clock_rng()).assemble(router(App::new(&settings, &platform)));
    let mut context = lambda_http::Context::default();
    context.deadline = u64::try_from(world.clock_rng().now().unix_timestamp_nanos() / 1_000_000).unwrap() + 1_300;
    let event = fixture("validate_base64_body").to_string();
    let request = lambda_http::request::from_str(&event).unwrap().with_lambda_context(context);
    let began = tokio::time::Instant::now();
    let response = answer_invocation(router, request).await;
    assert_eq!(response.status(), 504, "Flexgate answers itself, before Lambda kills the invocation");
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "by the settings, a request may take ten seconds");
}
