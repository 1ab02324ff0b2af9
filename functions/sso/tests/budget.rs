//! Tests how many failed requests each client may send (its failure budget), directly and behind a CDN. API Gateway's
//! events contain the client's address.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::task::{Context, Waker};

use axum::Router;
use flexgate::lambda::answer_invocation;
use flexgate::web::Edge;
use flexgate_sso::{App, Settings, router};
use flexgate_test_support::{Log, World};
use lambda_http::{Body, Response};
use serde_json::{Value, json};

const LOGIN: &str = "/sso/nobody/login";
const VALIDATE: &str = "/sso/validate";

fn function(world: &World, variables: &[(&str, &str)]) -> Router {
    let mut reader = world.reader().with(variables.iter().copied());
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let platform = world.platform(&settings.common);
    Edge::new("sso", &settings.common, world.clock_rng()).assemble(router(App::new(&settings, &platform)))
}

/// Returns an API Gateway event with these headers, from a client at `source`.
fn event(method: &str, path: &str, source: &str, headers: &Value) -> String {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
        "isBase64Encoded": false,
        "requestContext": {
            "accountId": "000000000000", "apiId": "api", "domainName": "localhost", "domainPrefix": "api",
            "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "01/Jan/2026:00:00:00 +0000",
            "timeEpoch": 1_767_225_600_000_i64,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": source, "userAgent": "x" },
        },
    })
    .to_string()
}

async fn send(function: &Router, event: &str) -> Response<Body> {
    answer_invocation(function.clone(), lambda_http::request::from_str(event).unwrap()).await
}

async fn status(function: &Router, event: &str) -> u16 {
    send(function, event).await.status().as_u16()
}

async fn use_up(function: &Router, event: &str) {
    for _ in 0..300 {
        assert_eq!(status(function, event).await / 100, 4);
    }
    assert_eq!(status(function, event).await, 429);
}

#[tokio::test]
async fn r75_an_address_that_sends_garbage_is_refused_and_no_other() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[]);
    let garbage = event("POST", VALIDATE, "192.0.2.1", &json!({ "content-type": "text/plain" }));
    use_up(&function, &garbage).await;
    let log = Log::start();
    let refused = send(&function, &garbage).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let Body::Text(text) = refused.body() else { unreachable!("{refused:?}") };
    let problem: Value = serde_json::from_str(text).unwrap();
    assert_eq!(problem["code"], "too_many_requests");
    assert_eq!(refused.headers()["x-request-id"], problem["request_id"].as_str().unwrap());
    assert_eq!(log.text(), "", "one line a minute is enough");
    drop(log);

    // A client cannot choose its IP address with a header.
    let headers = json!({ "content-type": "text/plain", "x-forwarded-for": "198.51.100.1, 192.0.2.1" });
    assert_eq!(status(&function, &event("POST", VALIDATE, "192.0.2.1", &headers)).await, 429);
    // The refusal does not affect other clients, other routes, or preflight requests.
    assert_eq!(status(&function, &event("POST", VALIDATE, "192.0.2.2", &headers)).await, 400);
    assert_eq!(status(&function, &event("GET", LOGIN, "192.0.2.1", &json!({}))).await, 404);
    assert_eq!(status(&function, &event("GET", "/health", "192.0.2.1", &json!({}))).await, 200);
    let preflight = json!({ "origin": "https://desk.example", "access-control-request-method": "POST" });
    assert_eq!(status(&function, &event("OPTIONS", VALIDATE, "192.0.2.1", &preflight)).await, 204);
    world.advance(time::Duration::seconds(1)).await;
    assert_eq!(status(&function, &garbage).await, 400);
}

#[tokio::test]
async fn r75_a_flood_that_is_no_browser_leaves_browsers_alone_and_they_are_refused_with_a_page() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[]);
    use_up(&function, &event("GET", LOGIN, "192.0.2.1", &json!({ "accept": "*/*" }))).await;
    let page = json!({ "accept": "text/html,application/xhtml+xml,*/*;q=0.8" });
    let login = event("GET", "/sso/default/login", "192.0.2.1", &page);
    for _ in 0..400 {
        assert_eq!(status(&function, &login).await, 303, "a login that works costs nothing");
    }
    use_up(&function, &event("GET", LOGIN, "192.0.2.1", &page)).await;
    let refused = send(&function, &login).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test]
async fn r75_behind_a_cdn_the_address_is_the_one_that_the_cdn_saw() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[("FLEXGATE_TRUSTED_PROXIES", "1")]);
    let login = |client: &str| {
        let forwarded = format!("203.0.113.99, {client}, 192.0.2.1");
        event("GET", LOGIN, "192.0.2.1", &json!({ "x-forwarded-for": forwarded }))
    };
    use_up(&function, &login("198.51.100.1")).await;
    assert_eq!(status(&function, &login("198.51.100.2")).await, 404);
    // All IPv6 addresses with the same first 64 bits count as one client.
    use_up(&function, &login("2001:db8::1")).await;
    assert_eq!(status(&function, &login("2001:db8::ffff:1")).await, 429);
    assert_eq!(status(&function, &login("2001:db8:0:1::1")).await, 404);
}

#[tokio::test]
async fn r75_a_trusted_network_has_no_budget() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[("FLEXGATE_TRUSTED_NETWORKS", "192.0.2.0/24")]);
    let login = event("GET", LOGIN, "192.0.2.1", &json!({}));
    for _ in 0..400 {
        assert_eq!(status(&function, &login).await, 404);
    }
    use_up(&function, &event("GET", LOGIN, "198.51.100.1", &json!({}))).await;
}

#[tokio::test]
async fn r75_a_client_that_does_not_wait_for_the_answer_is_limited_too() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[]);
    let mut validate: Value =
        serde_json::from_str(&event("POST", VALIDATE, "192.0.2.1", &json!({ "content-type": "application/json" })))
            .unwrap();
    validate["body"] = json!({ "token": "garbage" }).to_string().into();
    let validate = validate.to_string();
    for _ in 0..300 {
        // The client disconnects before the function answers.
        let mut begun = std::pin::pin!(send(&function, &validate));
        assert!(begun.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(status(&function, &validate).await, 429);
}

/// One person in the office opens a hostile page. The requests that this page makes fail, but they must not get the
/// office's address blocked.
#[tokio::test]
async fn r75_a_page_of_another_site_locks_nobody_out_at_the_same_address() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[]);
    let browser = |headers: Value| {
        let mut all = json!({ "accept": "text/html", "host": "localhost:9000" });
        all.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
        event("GET", "/sso/default/callback", "192.0.2.1", &all)
    };
    use_up(&function, &browser(json!({ "sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe" }))).await;
    // The genuine callback also comes from another site, but as a navigation of the whole page. So it does not share a
    // budget with the hostile page's requests, and Flexgate still answers it.
    let callback = browser(json!({ "sec-fetch-site": "cross-site", "sec-fetch-dest": "document" }));
    assert_eq!(status(&function, &callback).await, 400);

    let script = |origin: &str| {
        let headers = json!({ "content-type": "text/plain", "sec-fetch-site": "cross-site", "origin": origin });
        event("POST", VALIDATE, "192.0.2.1", &headers)
    };
    assert_eq!(status(&function, &script("https://evil.example")).await, 429);
    assert_eq!(status(&function, &script("https://desk.example")).await, 400, "a listed origin");
}

/// The SHA-256 of `not-a-word-in-a-log`.
const CDN_SECRET_HASH: &str = "15b6b8d53a5a5bc0c0dc1871a7687da80d8c2d34d1fa75c18ea00532adbda20d";

#[tokio::test]
async fn behind_a_cdn_a_request_that_comes_directly_is_refused() {
    let world = World::on_one_clock().await;
    let settings = [("FLEXGATE_CDN_SECRET_SHA256", CDN_SECRET_HASH)];
    let function = function(&world, &settings);
    let routes =
        [("GET", "/health"), ("GET", LOGIN), ("POST", VALIDATE), ("OPTIONS", "/sso/token"), ("GET", "/nowhere")];
    for (method, path) in routes {
        for headers in [json!({}), json!({ "x-flexgate-cdn": "abd" }), json!({ "x-forwarded-for": "192.0.2.9" })] {
            let log = Log::start();
            let refused = send(&function, &event(method, path, "192.0.2.1", &headers)).await;
            assert_eq!(refused.status().as_u16(), 403, "{method} {path} {headers}");
            let Body::Text(text) = refused.body() else { unreachable!("{refused:?}") };
            let problem: Value = serde_json::from_str(text).unwrap();
            assert_eq!(problem["code"], "cdn_required", "{method} {path}");
            assert!(log.text().contains("cdn_required"), "the refusal is in the log");
        }
        let log = Log::start();
        let headers = json!({ "x-flexgate-cdn": "not-a-word-in-a-log", "x-forwarded-for": "198.51.100.1, 192.0.2.1" });
        let answer = send(&function, &event(method, path, "192.0.2.1", &headers)).await;
        assert_ne!(answer.status().as_u16(), 403, "{method} {path}");
        assert!(!log.text().contains("not-a-word"), "the secret is not in the log");
    }
    // Flexgate refuses each request that bypasses the CDN, but does not count these refusals against a client. So even
    // after many such requests, the status is 403, and never 429.
    for _ in 0..310 {
        assert_eq!(status(&function, &event("POST", VALIDATE, "192.0.2.1", &json!({}))).await, 403);
    }
}

#[tokio::test]
async fn behind_a_cdn_the_client_is_whom_the_cdn_names() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[("FLEXGATE_CDN_SECRET_SHA256", CDN_SECRET_HASH)]);
    // Every request comes from the same IP address, which belongs to the CDN.
    let from = |client: &str| {
        let headers = json!({
            "x-flexgate-cdn": "not-a-word-in-a-log", "x-flexgate-client": client, "content-type": "text/plain",
            "x-forwarded-for": "203.0.113.7",
        });
        event("POST", VALIDATE, "192.0.2.1", &headers)
    };
    use_up(&function, &from("198.51.100.1")).await;
    for other in ["198.51.100.2", "2001:db8::1", "not an address"] {
        assert_eq!(status(&function, &from(other)).await, 400, "{other}");
    }
    // The settings do not mention a CDN. So Flexgate ignores the header in which a CDN sends the client's address.
    let direct = self::function(&world, &[]);
    let named = |client: &str| {
        let headers = json!({ "x-flexgate-client": client, "content-type": "text/plain" });
        event("POST", VALIDATE, "192.0.2.1", &headers)
    };
    use_up(&direct, &named("198.51.100.1")).await;
    assert_eq!(status(&direct, &named("198.51.100.2")).await, 429);
}

#[tokio::test]
async fn behind_a_cdn_that_replaces_the_host_a_login_is_not_redirected_to_the_public_url() {
    let world = World::on_one_clock().await;
    let headers = json!({ "x-flexgate-cdn": "not-a-word-in-a-log", "host": "api.execute-api.example" });
    let login = event("GET", "/sso/default/login", "192.0.2.1", &headers);
    let location = async |settings: &[(&str, &str)]| {
        let answer = send(&function(&world, settings), &login).await;
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    let public = "http://localhost:9000/sso/default/login";
    assert!(location(&[]).await.starts_with(public));
    let behind_cdn = location(&[("FLEXGATE_CDN_SECRET_SHA256", CDN_SECRET_HASH)]).await;
    assert!(!behind_cdn.starts_with(public), "{behind_cdn}");
}

#[tokio::test]
async fn an_address_with_a_port_from_api_gateway_is_read() {
    let world = World::on_one_clock().await;
    let function = function(&world, &[]);
    let garbage = |source: &str| event("POST", VALIDATE, source, &json!({ "content-type": "text/plain" }));
    use_up(&function, &garbage("10.1.22.195:32554")).await;
    assert_eq!(status(&function, &garbage("10.1.22.195:40000")).await, 429);
    assert_eq!(status(&function, &garbage("10.1.22.196:32554")).await, 400);
}
