//! Failures when Flexgate exchanges the code: Twilio returns wrong data, is slow, fails, or does not answer. Flexgate
//! never sends the code twice.

use serde_json::{Value, json};

use crate::{SESSION, at_callback, exchanges};

async fn after_fault(fault: Value) -> (u16, String, usize, bool) {
    let (world, mut browser, callback) = at_callback().await;
    world.fault(&fault).await;
    let reply = browser.get(&callback).await;
    let (status, code) = reply.problem();
    let canary = reply.text.contains("canary");
    assert!(!browser.cookies.contains_key(SESSION));
    (status, code, exchanges(&world).await, canary)
}

fn fault(kind: &str, more: &Value) -> Value {
    let mut fault = json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": kind, "times": "always" });
    fault.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fault
}

#[tokio::test]
async fn s14_tokens_of_another_account_or_instance() {
    for lie in ["exchange_other_account", "exchange_other_instance"] {
        let (world, mut browser, callback) = at_callback().await;
        world.control("switches", &json!({ lie: true })).await;
        let reply = browser.get(&callback).await;
        assert_eq!(reply.problem(), (502, "upstream_invalid".into()), "{lie}");
        assert!(!browser.cookies.contains_key(SESSION));
    }
}

#[tokio::test]
async fn s15_twilio_refuses_the_code() {
    for status in [400, 401, 403, 404] {
        let body = json!({ "code": 70002, "message": "canary", "status": status });
        let seen = after_fault(fault("status", &json!({ "status": status, "body": body }))).await;
        assert_eq!(seen, (401, "login_rejected".into(), 1, false), "{status}");
    }
}

#[tokio::test]
async fn s15_twilio_fails() {
    for status in [429, 500, 502, 503] {
        let (world, mut browser, callback) = at_callback().await;
        world.fault(&fault("status", &json!({ "status": status, "headers": { "retry-after": "7" } }))).await;
        let reply = browser.get(&callback).await;
        assert_eq!(reply.problem(), (503, "unavailable".into()), "{status}");
        assert_eq!(reply.header("retry-after"), "7");
        assert_eq!(exchanges(&world).await, 1, "{status}: the code was sent again");
    }
}

#[tokio::test]
async fn s15_twilio_says_nothing() {
    let seen = after_fault(fault("delay", &json!({ "delay_ms": 5000 }))).await;
    assert_eq!(seen, (504, "timeout".into(), 1, false));
}

#[tokio::test]
async fn s15_the_answer_is_lost() {
    let seen = after_fault(fault("lost_response", &json!({}))).await;
    assert_eq!(seen, (503, "unavailable".into(), 1, false));
}

#[tokio::test]
async fn s15_the_connection_is_reset() {
    let seen = after_fault(fault("reset", &json!({}))).await;
    assert_eq!((seen.0, seen.1.as_str(), seen.2), (503, "unavailable", 1));
}

#[tokio::test]
async fn s15_html_and_ten_megabytes() {
    for kind in ["garbage", "huge"] {
        let seen = after_fault(fault(kind, &json!({}))).await;
        assert_eq!(seen, (502, "upstream_invalid".into(), 1, false), "{kind}");
    }
}

#[tokio::test]
async fn a_code_whose_answer_was_lost_is_not_sent_by_a_second_callback_either() {
    let (world, mut browser, callback) = at_callback().await;
    let mut before = browser.clone();
    world.fault(&fault("lost_response", &json!({ "times": 1 }))).await;
    assert_eq!(browser.get(&callback).await.status, 503);
    assert_eq!(before.get(&callback).await.status, 400);
    assert_eq!(exchanges(&world).await, 1);
}

#[tokio::test]
async fn tokens_info_must_confirm_the_token() {
    for (kind, status) in [("status", 502), ("garbage", 502)] {
        let (world, mut browser, callback) = at_callback().await;
        world
            .fault(&json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": kind, "status": 401, "times": "always" }))
            .await;
        let reply = browser.get(&callback).await;
        assert_eq!(reply.problem(), (status, "upstream_invalid".into()), "{kind}");
        assert!(!browser.cookies.contains_key(SESSION));
    }
}
