//! Tests answers that come from proxies and firewalls instead of Twilio. The clients must recognise such answers.

use flexgate::domain::{FlexUserSid, SsoProfileSid, TokenTtl};
use flexgate::twilio::{TwilioError, UserUpdate};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{Clients, desired, soon};

type Failure = (&'static str, TwilioError);

/// Sends every kind of request. Returns the errors.
async fn everything(clients: &Clients) -> Vec<Failure> {
    let sid: FlexUserSid = format!("FU{}", "0".repeat(32)).parse().unwrap();
    let profile: SsoProfileSid = clients.world.simulator.account().sso_profile_sid.parse().unwrap();
    let (flex, sso) = (&clients.flex, &clients.sso);
    let secret = SecretString::from("secret");
    let update = UserUpdate { locale: Some("en-us"), ..UserUpdate::default() };
    let failures = [
        ("find", flex.find(&"ada".parse().unwrap(), soon()).await.err()),
        ("find_alike", flex.find_alike(&"ada".parse().unwrap(), soon()).await.err()),
        ("get", flex.get(&sid, soon()).await.err()),
        ("list", flex.list(10, None, soon()).await.err()),
        ("discover", flex.discover(soon()).await.err()),
        ("provision", flex.provision(&desired("ada"), soon()).await.err()),
        ("update", flex.update(&sid, &update, soon()).await.err()),
        ("deprovision", flex.deprovision(&sid, soon()).await.err()),
        ("mint", flex.mint(&sid, TokenTtl::DEFAULT, soon()).await.err()),
        ("configuration", sso.configuration(&profile, soon()).await.err()),
        ("exchange", sso.exchange(&profile, &secret, &secret, "nonce", soon()).await.err()),
        ("refresh", sso.refresh(&profile, &secret, soon()).await.err()),
        ("token_info", sso.token_info(&secret, soon()).await.err()),
    ];
    failures.into_iter().filter_map(|(name, error)| Some((name, error?))).collect()
}

fn fault(status: u16, body: &Value) -> Value {
    let headers = json!({ "location": "https://portal.example/", "content-type": "text/html" });
    json!({ "service": "*", "kind": "status", "status": status, "body": body, "headers": headers, "times": "always" })
}

#[tokio::test]
async fn r06_no_request_takes_a_proxys_refusal_for_twilios() {
    let clients = Clients::start().await;
    let html = json!("<!doctype html><title>Blocked</title>");
    for (status, body) in [
        (302, &html),
        (401, &html),
        (403, &html),
        (404, &html),
        (407, &html),
        (451, &html),
        (403, &json!({ "message": "Forbidden" })),
        (404, &json!({ "code": 404, "message": "Not Found", "status": 404 })),
        (401, &json!({ "code": "900901", "message": "Invalid Credentials" })),
        (404, &json!({ "code": 20404, "message": "copied from another answer", "status": 200 })),
    ] {
        clients.world.control("reset", &json!({})).await;
        clients.world.fault(&fault(status, body)).await;
        let failures = everything(&clients).await;
        assert_eq!(failures.len(), 13, "{status} {body}");
        for (name, error) in failures {
            assert!(matches!(error, TwilioError::Intercepted(_)), "{name}, {status} {body}: {error:?}");
            assert!(error.retry_after().is_some());
        }
        assert_eq!(clients.world.journal("").await.len(), 13, "{status} {body}: no request is sent again");
    }
}

#[tokio::test]
async fn r06_twilios_own_refusals_are_recognized_in_both_formats() {
    let clients = Clients::start().await;
    for body in [
        json!({ "code": 20404, "message": "x", "more_info": "https://www.twilio.com/docs/errors/20404", "status": 404 }),
        json!({ "type": "x", "title": "x", "status": 404, "code": 20404, "detail": "x", "errors": [] }),
        json!({ "code": 20404, "message": "x", "status": null, "future": {} }),
    ] {
        clients.world.control("reset", &json!({})).await;
        clients.world.fault(&fault(404, &body)).await;
        for (name, error) in everything(&clients).await {
            assert!(matches!(error, TwilioError::NotFound(_)), "{name}, {body}: {error:?}");
        }
    }
}
