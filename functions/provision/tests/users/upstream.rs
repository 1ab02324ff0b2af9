//! Tests the errors that callers get when Twilio fails. Twilio's own text must never reach the caller.

use http::Method;
use serde_json::{Value, json};

use crate::{Directory, katherine};

async fn told(fault: Value) -> (u16, String, String) {
    let directory = Directory::start().await;
    let mut fault = fault;
    fault["service"] = "flex-api".into();
    fault["times"] = "always".into();
    directory.world.fault(&fault).await;
    let mut seen = None;
    for (method, path, body) in [
        (Method::POST, "/users".to_owned(), Some(katherine())),
        (Method::GET, "/users?username=katherine".to_owned(), None),
        (Method::GET, "/users".to_owned(), None),
        (Method::GET, format!("/users/FU{}", "0".repeat(32)), None),
        (Method::DELETE, format!("/users/FU{}", "0".repeat(32)), None),
    ] {
        let reply = directory.call(method.clone(), &path, body.as_ref()).await;
        assert!(!reply.text.contains("canary") && !reply.text.contains("<html"), "{}", reply.text);
        let (status, code) = reply.problem();
        let now = (status, code, reply.header("retry-after").to_owned());
        assert_eq!(*seen.get_or_insert_with(|| now.clone()), now, "{method} {path}: every route says the same");
    }
    seen.unwrap()
}

fn status(status: u16) -> Value {
    json!({ "kind": "status", "status": status, "body": { "code": 20003, "message": "canary", "status": status } })
}

#[tokio::test]
async fn r06_a_proxys_refusal_never_says_that_a_user_does_not_exist() {
    for refused in [
        json!({ "kind": "status", "status": 404, "body": "<html>canary</html>" }),
        json!({ "kind": "status", "status": 403, "body": { "message": "Forbidden" } }),
        json!({ "kind": "status", "status": 401, "body": "<html>canary</html>" }),
        json!({ "kind": "status", "status": 407, "body": "" }),
    ] {
        assert_eq!(told(refused).await, (503, "unavailable".into(), "30".into()));
    }
}

#[tokio::test]
async fn upstream_401_and_403_are_ours_not_the_callers() {
    assert_eq!(told(status(401)).await, (503, "unavailable".into(), "30".into()));
    let restricted = json!({ "kind": "status", "status": 403, "body": { "code": 8001, "message": "canary" } });
    assert_eq!(told(restricted).await, (503, "unavailable".into(), String::new()));
}

#[tokio::test]
async fn upstream_429_and_5xx_are_503_with_retry_after() {
    for code in [429, 500, 503] {
        assert_eq!(told(status(code)).await, (503, "unavailable".into(), "5".into()), "{code}");
    }
    let mut asked = status(503);
    asked["headers"] = json!({ "retry-after": "17" });
    assert_eq!(told(asked).await, (503, "unavailable".into(), "17".into()));
}

#[tokio::test]
async fn upstream_garbage_is_502() {
    assert_eq!(told(json!({ "kind": "garbage" })).await, (502, "upstream_invalid".into(), String::new()));
    assert_eq!(told(json!({ "kind": "huge" })).await, (502, "upstream_invalid".into(), String::new()));
}

#[tokio::test]
async fn upstream_resets_are_503() {
    assert_eq!(told(json!({ "kind": "reset" })).await, (503, "unavailable".into(), "5".into()));
}

#[tokio::test]
async fn an_upstream_that_is_too_slow_is_504_within_the_requests_time() {
    let mut directory = Directory::start().await;
    directory.router = crate::process(&directory.world, &[("FLEXGATE_REQUEST_SECONDS", "1")]);
    let fault = json!({ "service": "flex-api", "kind": "delay", "delay_ms": 600_000, "times": "always" });
    directory.world.fault(&fault).await;
    let began = tokio::time::Instant::now();
    let reply = directory.post(&katherine()).await;
    assert_eq!(reply.problem(), (504, "timeout".into()));
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "without the setting, a request may take ten seconds");
}

#[tokio::test]
async fn what_twilio_does_not_like_about_a_user_is_422_with_its_code() {
    let directory = Directory::start().await;
    let body = json!({ "code": 45004, "message": "canary", "status": 400 });
    let fault =
        json!({ "service": "flex-api", "path_contains": "Provision", "kind": "status", "status": 400, "body": body });
    directory.world.fault(&fault).await;
    let reply = directory.post(&katherine()).await;
    assert_eq!(reply.problem(), (422, "twilio_refused".into()));
    assert!(reply.text.contains("45004") && !reply.text.contains("canary"));
}

#[tokio::test]
async fn a_deprovisioned_user_loses_its_sessions_here_at_once() {
    use flexgate::store::{Session, SessionKey, SessionOrigin, Sessions, SqliteStore};
    let directory = Directory::start().await;
    let user = directory.post(&katherine()).await.body;
    let sid = user["flex_user_sid"].as_str().unwrap();
    let store = SqliteStore::open(&directory.world.store_path()).unwrap();
    let now = directory.world.clock_rng().now();
    let key = SessionKey::of("a session");
    store
        .insert(Session {
            key: key.clone(),
            profile: "default".parse().unwrap(),
            flex_user_sid: sid.parse().unwrap(),
            sealed: "sealed".into(),
            version: 0,
            created_at: now,
            used_at: now,
            ends_at: now + time::Duration::hours(1),
            seat: None,
            origin: SessionOrigin::default(),
        })
        .await
        .unwrap();
    assert_eq!(directory.call(Method::DELETE, &format!("/users/{sid}"), None).await.status, 204);
    assert_eq!(store.get(&key).await.unwrap(), None);
}
