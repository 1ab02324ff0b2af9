//! Fuzzes the API Gateway event that Lambda gives to a function.
//!
//! In an input, `{JWT}` stands for a token of the identity provider with every scope, and `{SCIM}` for the SCIM
//! client's token.

use flexgate::lambda::answer_invocation;
use flexgate::web::kinds;
use flexgate_simulator::AUDIENCE;
use http::header;
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use url::Url;

use crate::Outcome;
use crate::world::{DESK, Function, GATEWAY, NOW, TWILIO, World, block_on};

thread_local! {
    static JWT: String = World::new().jwt(&json!({
        "aud": AUDIENCE, "sub": "00u-service", "exp": NOW.unix_timestamp() + 600, "preferred_username": "ada",
        "roles": ["agent"], "scope": "flexgate.token flexgate.token.any flexgate.users.read flexgate.users.write",
    }));
}

/// No request contains this text.
const NO_JWT: &str = "\0";

/// Checks that every error is a documented one, and that no protected request succeeds without a credential.
pub(crate) fn run(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    let world = World::new();
    let jwt = if text.contains("{JWT}") { JWT.with(Clone::clone) } else { NO_JWT.to_owned() };
    let text = text.replace("{JWT}", &jwt).replace("{SCIM}", &world.scim_token);
    if !has_address(&text) {
        return Outcome::Refused;
    }
    let Ok(request) = lambda_http::request::from_str(&text) else { return Outcome::Refused };
    let asked = Asked::of(&request);
    let response = block_on(answer_invocation(world.router(asked.function), request));
    let (status, body) = (response.status(), body(&response));
    for (name, value) in response.headers() {
        assert!(value.as_bytes().iter().all(|byte| *byte >= b' ' && *byte != 0x7f), "{name}: {value:?}");
    }
    check_headers(&response);
    if status.is_client_error() || status.is_server_error() {
        if asked.method != "HEAD" {
            check_refusal(&response, &body);
        }
        return Outcome::Refused;
    }
    // These requests succeed without a credential: the health check, a preflight, a webhook source's challenge (which
    // gets status 200, while a delivery gets 202), and the redirects of a sign-in.
    let is_challenge = asked.path.starts_with("/webhooks/") && status == 200;
    let is_login = asked.path.starts_with("/sso/") && !["/sso/token", "/sso/validate"].contains(&asked.path.as_str());
    let is_open = asked.path == "/health" || asked.method == "OPTIONS" || is_login || is_challenge;
    let credential = if asked.path.starts_with("/scim/") { &world.scim_token } else { &jwt };
    // A token exchange has the token in its body instead of the header.
    let is_proven = asked.authorization.contains(credential) || (asked.path == "/token" && text.contains(credential));
    assert!(is_open || is_proven, "{text}");
    Outcome::Accepted
}

/// Whether `lambda_http` can build a URL from the event. If it cannot, for example because of a `<` in the query,
/// `lambda_http` panics, and the runtime answers 500.
fn has_address(event: &str) -> bool {
    let Ok(event) = serde_json::from_str::<Value>(event) else { return false };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let header = |name: &str| {
        let headers = event["headers"].as_object().into_iter().flatten();
        headers.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| text(value)).collect::<Vec<_>>()
    };
    let (hosts, schemes) = (header("host"), header("x-forwarded-proto"));
    let (path, query) = (text(&event["rawPath"]), text(&event["rawQueryString"]));
    let readable = |scheme: &String| scheme == "https" || scheme == "http";
    let parses = |host: &String| {
        let url = Url::parse(&format!("https://{host}{path}"));
        url.is_ok_and(|url| format!("{url}?{query}").parse::<http::Uri>().is_ok())
    };
    path.starts_with('/') && hosts.len() == 1 && hosts.iter().all(parses) && schemes.iter().all(readable)
}

struct Asked {
    function: Function,
    method: String,
    path: String,
    authorization: String,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let path = request.uri().path().to_owned();
        let function = match path.split('/').nth(1) {
            Some("token") => Function::Mint,
            Some("users" | "scim") => Function::Provision,
            Some("webhooks") => Function::Webhooks,
            _ => Function::Sso,
        };
        let authorization = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        let authorization = String::from_utf8_lossy(&authorization.unwrap_or_default()).into_owned();
        Self { function, method: request.method().to_string(), path, authorization }
    }
}

fn body(response: &Response<Body>) -> Value {
    match response.body() {
        Body::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::Null,
    }
}

fn check_headers(response: &Response<Body>) {
    let headers = response.headers();
    let one = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    for (name, value) in
        [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("x-frame-options", "DENY")]
    {
        assert_eq!(headers.get(name).and_then(|value| value.to_str().ok()), Some(value));
    }
    if let Some(origin) = one(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        assert!([GATEWAY, DESK].contains(&origin.as_str()), "CORS for {origin}");
    }
    if let Some(location) = one(header::LOCATION) {
        let landed = Url::parse(GATEWAY).unwrap().join(&location).unwrap().origin().ascii_serialization();
        assert!([GATEWAY, DESK, TWILIO].contains(&landed.as_str()), "a redirect to {location}");
    }
    for cookie in headers.get_all(header::SET_COOKIE) {
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("__Host-flexgate-") && cookie.contains("; HttpOnly; Secure"), "{cookie}");
    }
}

/// Checks that a refusal is a problem document, a page or a SCIM error document. Here all upstream services work, so
/// the only allowed server error is 501.
fn check_refusal(response: &Response<Body>, body: &Value) {
    let status = response.status();
    assert!(!status.is_server_error() || status.as_u16() == 501, "{status}: {:?}", response.body());
    let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
    match content_type {
        "application/problem+json" => {
            let kind = kinds::ALL.iter().find(|kind| body["code"] == kind.code).unwrap();
            assert_eq!(kind.status, status, "{body}");
            assert_eq!(body["request_id"].as_str(), response.headers()["x-request-id"].to_str().ok());
        }
        "application/scim+json" => assert_eq!(body["status"], status.as_str(), "{body}"),
        "text/html; charset=utf-8" => {
            let Body::Text(page) = response.body() else { panic!("the page is no text") };
            assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"), "{page}");
        }
        other => panic!("a refusal of the type {other}"),
    }
}
