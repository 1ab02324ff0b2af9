//! Tests requests to a failing Twilio: the retries and the errors.

use std::time::Duration;

use flexgate::base::outbound::Deadline;
use flexgate::domain::TokenTtl;
use flexgate::twilio::TwilioError;
use flexgate_simulator::ErrorFormat;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Clients, desired, soon};

fn fault(kind: &str, path: &str, more: &Value) -> Value {
    let mut fault = json!({ "service": "*", "path_contains": path, "kind": kind });
    for (name, value) in more.as_object().unwrap() {
        fault[name] = value.clone();
    }
    fault
}

#[tokio::test]
async fn what_passes_is_asked_again_where_twice_is_once() {
    let clients = Clients::start().await;
    let user = clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    for (kind, more) in [
        ("status", json!({ "status": 429, "body": { "code": 20429 } })),
        ("status", json!({ "status": 500, "body": { "code": 20500 } })),
        ("status", json!({ "status": 503 })),
        ("status", json!({ "status": 400, "body": { "code": 45780, "message": "x" } })),
        ("reset", json!({})),
        ("lost_response", json!({})),
    ] {
        for (path, times) in [("Users/Provision", 1), ("Users", 2), ("Tokens", 1)] {
            let mut more = more.clone();
            more["times"] = times.into();
            clients.world.fault(&fault(kind, path, &more)).await;
            let ok = match path {
                "Users/Provision" => clients.flex.provision(&desired("katherine"), soon()).await.is_ok(),
                "Users" => clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap().is_some(),
                _ => clients.flex.mint(&user.flex_user_sid, TokenTtl::DEFAULT, soon()).await.is_ok(),
            };
            assert!(ok, "{kind} {more} at {path}");
        }
    }
}

#[tokio::test]
async fn a_user_provisioned_by_a_lost_answer_exists_once() {
    let clients = Clients::start().await;
    clients.world.fault(&fault("lost_response", "Users/Provision", &json!({}))).await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let users = clients.flex.list(50, None, soon()).await.unwrap().users;
    assert_eq!(users.len(), 1);
}

#[tokio::test]
async fn what_does_not_pass_is_said_after_three_attempts() {
    let clients = Clients::start().await;
    let always = |more: Value| {
        let mut more = more;
        more["times"] = "always".into();
        more
    };
    let ask = async |clients: &Clients| clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap_err();

    let busy = always(json!({ "status": 429, "headers": { "retry-after": "1" } }));
    clients.world.fault(&fault("status", "Users", &busy)).await;
    let began = Instant::now();
    let error = ask(&clients).await;
    assert!(matches!(error, TwilioError::Busy(_)), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert!(began.elapsed() >= Duration::from_secs(2), "Retry-After is honoured between attempts");
    assert_eq!(clients.world.journal("Users").await.len(), 3);

    clients.world.control("reset", &json!({})).await;
    clients.world.fault(&fault("status", "Users", &always(json!({ "status": 503 })))).await;
    assert!(matches!(ask(&clients).await, TwilioError::Failing(_)));
    clients.world.control("reset", &json!({})).await;
    clients.world.fault(&fault("reset", "Users", &always(json!({})))).await;
    assert!(matches!(ask(&clients).await, TwilioError::Lost(_)));
    clients.world.control("reset", &json!({})).await;
    for kind in ["garbage", "huge"] {
        clients.world.fault(&fault(kind, "Users", &json!({}))).await;
        assert!(matches!(ask(&clients).await, TwilioError::Malformed(_)), "{kind}");
    }
    assert_eq!(clients.world.journal("Users").await.len(), 2, "nonsense is not asked for again");
}

#[tokio::test]
async fn a_wait_longer_than_the_deadline_is_not_waited() {
    let clients = Clients::start().await;
    let more = json!({ "status": 503, "headers": { "retry-after": "60" }, "times": "always" });
    clients.world.fault(&fault("status", "Users", &more)).await;
    let began = Instant::now();
    let error = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_mins(1)), "the caller is told instead");
    assert!(began.elapsed() < Duration::from_secs(9), "the deadline is ten seconds");
}

#[tokio::test]
async fn the_deadline_holds_whatever_twilio_does() {
    let clients = Clients::start().await;
    clients.world.fault(&fault("delay", "Users", &json!({ "delay_ms": 600_000, "times": "always" }))).await;
    let began = Instant::now();
    let deadline = Deadline::after(Duration::from_millis(600));
    let error = clients.flex.find(&"katherine".parse().unwrap(), deadline).await.unwrap_err();
    assert!(matches!(error, TwilioError::Timeout), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "an attempt alone may take six seconds");
}

#[tokio::test]
async fn a_slow_first_attempt_leaves_time_for_another() {
    let clients = Clients::start().await;
    clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    clients.world.fault(&fault("delay", "Users", &json!({ "delay_ms": 4500 }))).await;
    assert!(clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap().is_some());
}

#[tokio::test]
async fn codes_and_refresh_tokens_are_never_sent_twice() {
    let clients = Clients::start().await;
    let profile = clients.world.simulator.account().sso_profile_sid.parse().unwrap();
    let secret = SecretString::from("secret");
    for (kind, more) in [
        ("status", json!({ "status": 400, "body": { "code": 45773, "message": "x" } })),
        ("status", json!({ "status": 408 })),
        ("status", json!({ "status": 503 })),
        ("reset", json!({})),
        ("lost_response", json!({})),
    ] {
        let mut more = more;
        more["times"] = "always".into();
        clients.world.control("reset", &json!({})).await;
        clients.world.fault(&fault(kind, "OAuth/Tokens", &more)).await;
        assert!(clients.sso.exchange(&profile, &secret, &secret, "nonce", soon()).await.is_err());
        assert!(clients.sso.refresh(&profile, &secret, soon()).await.is_err());
        assert_eq!(clients.world.journal("OAuth/Tokens").await.len(), 2, "{kind} {more}");
    }
}

#[tokio::test]
async fn r10_what_twilio_did_not_process_is_sent_again_even_with_a_code() {
    let clients = Clients::start().await;
    let profile = clients.world.simulator.account().sso_profile_sid.parse().unwrap();
    let secret = SecretString::from("secret");
    for more in [json!({ "status": 429 }), json!({ "status": 409, "body": { "code": 45780, "message": "x" } })] {
        let mut more = more;
        more["times"] = "always".into();
        clients.world.control("reset", &json!({})).await;
        clients.world.fault(&fault("status", "OAuth/Tokens", &more)).await;
        assert!(clients.sso.exchange(&profile, &secret, &secret, "nonce", soon()).await.is_err());
        assert!(clients.sso.refresh(&profile, &secret, soon()).await.is_err());
        assert_eq!(clients.world.journal("OAuth/Tokens").await.len(), 6, "three attempts each: {more}");
    }
}

#[tokio::test]
async fn a_twilio_that_is_not_there_is_unreachable() {
    let clients = Clients::start().await;
    let user = clients.flex.provision(&desired("katherine"), soon()).await.unwrap();
    let Clients { world, flex, .. } = clients;
    world.simulator.shutdown().await;
    let error = flex.get(&user.flex_user_sid, soon()).await.unwrap_err();
    assert!(matches!(error, TwilioError::Unreachable(_)), "{error:?}");
    assert!(error.retry_after().is_some());
}

#[tokio::test]
async fn refusals_are_told_apart_in_both_error_shapes() {
    let clients = Clients::start().await;
    for format in [ErrorFormat::Twilio, ErrorFormat::Problem] {
        clients.world.simulator.switch(|switches| switches.rfc9457_errors = format);
        let sid = format!("FU{}", "0".repeat(32)).parse().unwrap();
        let Err(TwilioError::NotFound(error)) = clients.flex.get(&sid, soon()).await else { panic!("not found") };
        assert_eq!(error.code, Some(20404));
        assert!(error.request_id.is_some_and(|id| id.starts_with("RQ")));
    }
    let mut nobody = desired("katherine");
    nobody.roles.clear();
    let error = clients.flex.provision(&nobody, soon()).await.unwrap_err();
    assert!(matches!(&error, TwilioError::Refused(api) if api.status == 400), "{error:?}");
}

#[tokio::test]
async fn nothing_of_twilios_text_is_in_an_error() {
    let clients = Clients::start().await;
    let body = json!({ "code": 20500, "message": "canary", "detail": "canary" });
    for status in [400, 401, 403, 404, 409, 422, 429, 500, 503] {
        clients.world.control("reset", &json!({})).await;
        let more = json!({ "status": status, "body": body, "times": "always" });
        clients.world.fault(&fault("status", "Users", &more)).await;
        let error = clients.flex.find(&"katherine".parse().unwrap(), soon()).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
