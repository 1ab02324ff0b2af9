//! Tests the errors for invalid input and for callers without permission.

use axum::body::Body;
use flexgate_test_support::{Browser, Reply, World};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::{Directory, katherine, process};

async fn raw(directory: &Directory, content_type: &str, body: impl Into<Body>) -> Reply {
    let request = Request::post("/users")
        .header("authorization", format!("Bearer {}", directory.bearer))
        .header("content-type", content_type);
    Browser::new(directory.router.clone()).send(request.body(body.into()).unwrap()).await
}

fn wrong(reply: &Reply) -> Vec<String> {
    let errors = reply.body["errors"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn r15_a_malformed_path_is_a_problem_document() {
    let directory = Directory::start().await;
    for (method, path) in [
        (Method::GET, "/users/%ff"),
        (Method::DELETE, "/users/%c3%28"),
        (Method::GET, "/users/%80/explain"),
        (Method::GET, "/%ff"),
    ] {
        let reply = directory.call(method, path, None).await;
        assert_eq!(reply.problem(), (404, "route_unknown".into()), "{path}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problem_documents() {
    let directory = Directory::start().await;
    let reply = directory.get("/nowhere").await;
    assert_eq!(reply.problem(), (404, "route_unknown".into()));
    let document = reply.body.clone();
    assert_eq!(document["type"], "urn:flexgate:problem:route_unknown");
    assert_eq!(document["request_id"], reply.header("x-request-id"));
    assert_eq!((document["status"].as_u64(), document["title"].is_string()), (Some(404), true));
    for (method, path) in [(Method::PUT, "/users"), (Method::PATCH, "/users/x"), (Method::POST, "/health")] {
        let reply = directory.call(method, path, None).await;
        assert_eq!(reply.problem(), (405, "method_not_allowed".into()), "{path}");
        assert!(!reply.header("allow").is_empty());
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_or_too_large_is_refused_by_its_kind() {
    let directory = Directory::start().await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let reply = raw(&directory, content_type, katherine().to_string()).await;
        assert_eq!(reply.problem(), (415, "unsupported_media_type".into()), "{content_type}");
    }
    assert_eq!(raw(&directory, "application/json; charset=utf-8", katherine().to_string()).await.status, 201);
    let large = format!("{{\"username\": \"{}\"}}", "x".repeat(64 * 1024));
    assert_eq!(raw(&directory, "application/json", large).await.problem(), (413, "too_large".into()));
    for body in ["{", "[]", "null", "\"x\"", "{\"a\":1}{", "\u{feff}{}", &"[".repeat(5000)] {
        let reply = raw(&directory, "application/json", body.to_owned()).await;
        assert_eq!(reply.problem(), (400, "body_malformed".into()), "{body}");
    }
    let reply = raw(&directory, "application/json", vec![b'{', 0xff, b'}']).await;
    assert_eq!(reply.problem(), (400, "body_malformed".into()));
    let reply = raw(&directory, "application/json", "{\"username\":\"a\",\"username\":\"b\"}").await;
    assert_eq!(reply.problem(), (400, "body_malformed".into()), "a body that says two things says nothing");
}

#[tokio::test]
async fn every_field_that_is_missing_or_wrong_is_named_at_once() {
    let directory = Directory::start().await;
    let reply = directory.post(&json!({})).await;
    assert_eq!(reply.problem(), (400, "fields_invalid".into()));
    assert_eq!(wrong(&reply), ["email", "full_name", "roles", "username"]);
    let reply = directory
        .post(&json!({
            "username": 7, "email": "not one", "full_name": " padded ", "roles": ["boss"], "worker": [], "role": "agent",
        }))
        .await;
    assert_eq!(wrong(&reply), ["email", "full_name", "role", "roles", "username", "worker"]);
    assert!(reply.body["detail"].as_str().unwrap().contains("full_name"));
    let with = |name: &str, value: Value| {
        let mut user = katherine();
        user[name] = value;
        user
    };
    for (name, value) in [
        ("roles", json!([])),
        ("roles", json!("agent")),
        ("roles", json!([null])),
        ("username", json!("x".repeat(257))),
        ("username", json!("a\u{202e}b")),
        ("email", json!(null)),
        ("worker", json!({ "attributes": { "contact_uri": "client:eve" } })),
        ("worker", json!({ "attributes": { "a": { "b": 1 } } })),
        ("worker", json!({ "sid": "WK" })),
    ] {
        assert_eq!(wrong(&directory.post(&with(name, value.clone())).await), [name], "{value}");
    }
    assert!(directory.world.journal("Users").await.is_empty(), "Twilio hears nothing of it");
}

#[tokio::test]
async fn query_parameters_are_checked() {
    let directory = Directory::start().await;
    for query in [
        "page_size=0",
        "page_size=1001",
        "page_size=x",
        "page_size=1&page_size=2",
        "username=",
        "username=a&username=b",
    ] {
        let reply = directory.get(&format!("/users?{query}")).await;
        assert_eq!(reply.problem(), (400, "query_invalid".into()), "{query}");
    }
}

#[tokio::test]
async fn without_a_token_or_its_scope_nothing_is_done_and_nothing_is_said() {
    let directory = Directory::start().await;
    let reader = directory.world.token(&json!({ "scope": "flexgate.users.read" })).await;
    let minter = directory.world.token(&json!({ "scope": "flexgate.token flexgate.token.any" })).await;
    let sid = format!("/users/FU{}", "0".repeat(32));
    for (bearer, method, path, expected) in [
        (None, Method::POST, "/users", 401),
        (None, Method::GET, "/users", 401),
        (None, Method::GET, &*sid, 401),
        (None, Method::DELETE, &*sid, 401),
        (Some("garbage"), Method::POST, "/users", 401),
        (Some(&*minter), Method::POST, "/users", 403),
        (Some(&*minter), Method::GET, "/users", 403),
        (Some(&*reader), Method::POST, "/users", 403),
        (Some(&*reader), Method::DELETE, &*sid, 403),
    ] {
        let mut request =
            Request::builder().method(method.clone()).uri(path).header("content-type", "application/json");
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        // A caller without permission must not learn that the body is invalid.
        let reply = Browser::new(directory.router.clone()).send(request.body(Body::from("{")).unwrap()).await;
        let code = if expected == 401 { "token_invalid" } else { "scope_missing" };
        assert_eq!(reply.problem(), (expected, code.into()), "{method} {path}");
        assert_eq!(reply.header("www-authenticate"), if expected == 401 { "Bearer" } else { "" });
    }
    assert!(directory.world.journal("Users").await.is_empty());
}

#[tokio::test]
async fn a_page_token_that_twilio_never_gave_is_the_callers_mistake() {
    let directory = Directory::start().await;
    let reply = directory.get("/users?page_token=made-up").await;
    assert_eq!(reply.problem(), (404, "page_unknown".into()));
    let long = format!("/users?page_token={}", "x".repeat(1_025));
    for (path, name) in [(long.as_str(), "page_token"), ("/users?username=ada&page_size=false", "page_size")] {
        let reply = directory.get(path).await;
        assert_eq!(reply.problem(), (400, "query_invalid".into()), "{path}");
        assert_eq!(wrong(&reply), [name]);
    }
}

#[tokio::test]
async fn r86_where_no_issuer_is_configured_nobody_provisions() {
    let world = World::on_one_clock().await;
    let bearer = world.token(&json!({ "sub": "hr", "scope": "flexgate.users.read flexgate.users.write" })).await;
    let router = process(&world, &[("FLEXGATE_ISSUERS", "")]);
    let directory = Directory { world, router, bearer };
    for answer in [directory.post(&katherine()).await, directory.get("/users").await] {
        assert_eq!(answer.problem(), (501, "not_configured".to_owned()));
        assert!(answer.body["detail"].as_str().unwrap().contains("FLEXGATE_ISSUERS"));
    }
    assert!(directory.world.twilio_users().await.is_empty());
}
