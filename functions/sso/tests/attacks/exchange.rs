//! Tests failures of the code exchange: wrong data, delays, errors and lost answers. Flexgate never sends a code twice.

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
    for status in [500, 502, 503] {
        let (world, mut browser, callback) = at_callback().await;
        world.fault(&fault("status", &json!({ "status": status, "headers": { "retry-after": "7" } }))).await;
        let reply = browser.get(&callback).await;
        assert_eq!(reply.problem(), (503, "unavailable".into()), "{status}");
        assert_eq!(reply.header("retry-after"), "7");
        assert_eq!(exchanges(&world).await, 1, "{status}: the code was sent again");
    }
}

#[tokio::test]
async fn s15_twilio_is_busy_for_longer_than_the_request_may_take() {
    let (world, mut browser, callback) = at_callback().await;
    world.fault(&fault("status", &json!({ "status": 429, "headers": { "retry-after": "60" } }))).await;
    let reply = browser.get(&callback).await;
    assert_eq!(reply.problem(), (503, "unavailable".into()));
    assert_eq!(reply.header("retry-after"), "60");
    assert_eq!(exchanges(&world).await, 1);
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
async fn tokens_info_must_not_contradict_the_exchange() {
    let info = |changes: Value| {
        let mut body = json!({
            "account_sid": "AC00000000000000000000000000000bad", "flex_instance_sid": "GO00000000000000000000000000000bad",
            "flex_user_sid": "FU00000000000000000000000000000bad", "roles": ["agent"], "expiration": "2999-01-01T00:00:00Z",
        });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({ "status": 200, "body": body })
    };
    for case in 0..4 {
        let (world, mut browser, callback) = at_callback().await;
        let account = world.simulator.account();
        let ours = json!({ "account_sid": account.account_sid, "flex_instance_sid": account.instance_sid });
        let contradiction = match case {
            0 => json!({ "status": 401 }),
            1 => info(json!({})),
            2 => info(ours),
            _ => {
                let mut expired = ours;
                expired["flex_user_sid"] = world.twilio_user("ada").await.unwrap()["flex_user_sid"].clone();
                expired["expiration"] = json!("2020-01-01T00:00:00Z");
                info(expired)
            }
        };
        let mut fault =
            json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": "status", "times": "always" });
        fault.as_object_mut().unwrap().extend(contradiction.as_object().unwrap().clone());
        world.fault(&fault).await;
        let reply = browser.get(&callback).await;
        assert_eq!(reply.problem(), (502, "upstream_invalid".into()), "case {case}");
        assert!(!browser.cookies.contains_key(SESSION));
    }
}

#[tokio::test]
async fn tokens_info_is_asked_only_for_what_the_exchange_lacks() {
    for lacking in [None, Some("username"), Some("identity"), Some("worker_sid")] {
        let (world, mut browser, callback) = at_callback().await;
        let account = world.simulator.account();
        let mut info = json!({
            "account_sid": account.account_sid, "flex_instance_sid": account.instance_sid,
            "flex_user_sid": "FU00000000000000000000000000000001", "expiration": "2999-01-01T00:00:00Z", "roles": ["agent"],
            "username": "ada", "identity": "ada", "worker_sid": "WK00000000000000000000000000000001",
        });
        if let Some(lacking) = lacking {
            info.as_object_mut().unwrap().remove(lacking);
        }
        let body = json!({ "access_token": "access", "refresh_token": "refresh", "token_info": info });
        world
            .fault(&json!({
                "service": "services", "path_contains": "OAuth/Tokens", "kind": "status", "status": 200, "body": body
            }))
            .await;
        world
            .fault(
                &json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": "reset", "times": "always" }),
            )
            .await;
        let status = browser.get(&callback).await.status;
        assert_eq!(status, if lacking == Some("username") { 503 } else { 303 }, "without {lacking:?}");
        assert_eq!(world.journal("Tokens/Info").await.is_empty(), lacking.is_none(), "without {lacking:?}");
        if lacking.is_none() {
            let token = browser.call("/sso/token").await.is(200);
            assert_eq!(token["worker_sid"], "WK00000000000000000000000000000001");
        }
    }
}

#[tokio::test]
async fn tokens_info_is_not_needed_where_the_exchange_says_enough() {
    for fault in
        [json!({ "kind": "garbage" }), json!({ "kind": "reset" }), json!({ "kind": "delay", "delay_ms": 2_500 })]
    {
        let (world, mut browser, callback) = at_callback().await;
        let mut fault = fault;
        fault["service"] = "flex-api".into();
        fault["path_contains"] = "Tokens/Info".into();
        fault["times"] = "always".into();
        world.fault(&fault).await;
        assert_eq!(browser.get(&callback).await.status, 303, "{fault}");
        let token = browser.call("/sso/token").await.is(200);
        assert_eq!((&token["username"], &token["worker_sid"]), (&json!("ada"), &json!(null)));
    }
}
