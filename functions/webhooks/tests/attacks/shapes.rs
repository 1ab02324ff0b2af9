//! Tests unusual payloads and configurations (attacks W6, W8, W10, W14 and W16 of the attack register).

use flexgate::lambda::answer_invocation;
use flexgate_webhooks::MAX_DELIVERY;
use lambda_http::{Body as LambdaBody, RequestExt as _};

use super::*;

#[tokio::test]
async fn w06_a_body_that_the_gateway_encoded_is_verified_as_it_was_sent() {
    let hooks = Hooks::start().await;
    let (id, now) = ("msg_1", hooks.now().to_string());
    let body = clerk("user.created", "ada", hooks.now() * 1000).to_string();
    let signature = sign(KEY, id, &now, body.as_bytes());
    let event = json!({
        "version": "2.0", "routeKey": "POST /webhooks/{source}", "rawPath": "/webhooks/standard", "rawQueryString": "",
        "headers": { "content-type": "application/json", "webhook-id": id, "webhook-timestamp": now,
                     "webhook-signature": signature, "host": "gate.example.com" },
        "requestContext": { "accountId": "1", "apiId": "a", "domainName": "gate.example.com", "domainPrefix": "gate",
            "http": { "method": "POST", "path": "/webhooks/standard", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x" },
            "requestId": "r", "routeKey": "POST /webhooks/{source}", "stage": "$default", "time": "01/Mar/2026:12:00:00 +0000",
            "timeEpoch": 1_772_366_400_000_i64 },
        "body": STANDARD.encode(&body), "isBase64Encoded": true,
    });
    let mut context = lambda_http::Context::default();
    context.deadline = (u64::try_from(hooks.now()).unwrap() + 10) * 1000;
    let request = lambda_http::request::from_str(&event.to_string()).unwrap().with_lambda_context(context);
    let response = answer_invocation(hooks.router.clone(), request).await;
    let LambdaBody::Text(text) = response.body() else { panic!("no text") };
    assert_eq!((response.status().as_u16(), text.as_str()), (202, r#"{"accepted":1}"#));
}

#[tokio::test]
async fn w08_oktas_challenge_is_given_back_and_its_absence_refused() {
    let hooks = Hooks::start().await;
    let reply = hooks.get("/webhooks/okta", &[("x-okta-verification-challenge", "Zm9v<b>")]).await;
    assert_eq!((reply.status.as_u16(), reply.body), (200, json!({ "verification": "Zm9v<b>" })));
    let long = "x".repeat(5000);
    for headers in [
        vec![],
        vec![("x-okta-verification-challenge", "")],
        vec![("x-okta-verification-challenge", long.as_str())],
        vec![("x-okta-verification-challenge", "a"), ("x-okta-verification-challenge", "b")],
    ] {
        assert_eq!(hooks.get("/webhooks/okta", &headers).await.problem(), (400, "challenge_invalid".to_owned()));
    }
    // Only Okta sources answer this challenge.
    let reply = hooks.get("/webhooks/standard", &[("x-okta-verification-challenge", "a")]).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn w10_graphs_validation_token_comes_back_as_text_exactly() {
    let hooks = Hooks::start().await;
    let token = "Validation: <script>alert(1)</script> & \u{e9} +1";
    let path = format!("/webhooks/graph?validationToken={}", url_encoded(token));
    for reply in [hooks.get(&path, &[("accept", "text/html")]).await, hooks.post(&path[10..], &[], "").await] {
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, token));
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
    let twice = hooks.get("/webhooks/graph?validationToken=a&validationToken=b", &[]).await;
    assert_eq!(twice.problem(), (400, "query_invalid".to_owned()));
    assert_eq!(hooks.get("/webhooks/graph", &[]).await.status, 400);
    assert_eq!(hooks.get("/webhooks/okta?validationToken=a", &[]).await.status, 400);
}

fn url_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| format!("{out}%{byte:02X}"))
}

#[tokio::test]
async fn w14_what_is_too_large_too_deep_not_utf8_or_not_json_is_refused() {
    let hooks = Hooks::start().await;
    let now = hooks.now().to_string();
    let send = async |content_type: &'static str, body: Vec<u8>| {
        let signature = sign(KEY, "msg_1", &now, &body);
        let mut headers = standard_headers("msg_1", &now, &signature);
        headers[0].1 = content_type;
        hooks.post("standard", &headers, body).await.problem()
    };
    let large = vec![b' '; 1 << 20];
    assert_eq!(send("application/json", large).await, (413, "too_large".to_owned()));
    assert_eq!(send("application/json", vec![b' '; MAX_DELIVERY + 1]).await, (413, "too_large".to_owned()));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for body in [deep.as_bytes(), b"{\"a\":\"\xff\"}", b"{\"a\":1,\"a\":2}", b"", b"{}{}", b"nope"] {
        assert_eq!(send("application/json", body.to_vec()).await, (400, "body_malformed".to_owned()), "{body:?}");
    }
    for content_type in ["text/plain", "", "application/x-www-form-urlencoded", "text/json", "multipart/form-data"] {
        assert_eq!(send(content_type, b"{}".to_vec()).await, (415, "unsupported_media_type".to_owned()));
    }
    for content_type in ["application/cloudevents+json", "Application/JSON; charset=utf-8"] {
        assert_eq!(send(content_type, b"{\"type\":\"other\"}".to_vec()).await, (202, String::new()));
    }
    let methods = [http::Method::PUT, http::Method::DELETE, http::Method::HEAD];
    for method in methods {
        let request = Request::builder().method(method).uri("/webhooks/okta").body(Body::empty()).unwrap();
        assert_eq!(Browser::new(hooks.router.clone()).send(request).await.status, 405);
    }
}

#[tokio::test]
async fn w16_without_good_secrets_it_does_not_start_and_says_which_variable() {
    let world = World::on_one_clock().await;
    let good = format!("whsec_{}", STANDARD.encode(KEY));
    let short = format!("whsec_{}", STANDARD.encode(&KEY[..18]));
    let known = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for document in [
        json!({ "standard": "" }),
        json!({ "standard": [] }),
        json!({ "standard": "changeme" }),
        json!({ "standard": known }),
        json!({ "standard": short }),
        json!({ "standard": "whsec_not base64, whatever it is" }),
        json!({ "standard": [good, ""] }),
        json!({ "okta": SECRET }),
        json!({}),
        json!(null),
        json!({ "standard": null }),
        json!({ "standard": good, "okta": "changeme" }),
        json!({ "standard": good, "Okta EU": SECRET }),
        json!({ "standard": 7 }),
        json!([]),
    ] {
        world.write_secret("webhook-secrets", &document);
        let error = start(&world, &json!({ "standard": {} })).await.unwrap_err();
        let said = chain(&error);
        assert!(said.contains("WEBHOOK_SECRETS_SECRET_ID"), "{document}: {said}");
        let secret = document["standard"].as_str().filter(|text| text.len() > 8);
        assert!(secret.is_none_or(|secret| !said.contains(secret)), "{said}");
    }
    std::fs::remove_file(world.folder().join("secrets/webhook-secrets.json")).unwrap();
    let error = start(&world, &json!({ "standard": {} })).await.unwrap_err();
    assert!(chain(&error).contains("WEBHOOK_SECRETS_SECRET_ID"));
    world.write_secret("webhook-secrets", &json!({ "standard": good }));
    assert!(start(&world, &json!({ "standard": {} })).await.is_ok());
}

#[tokio::test]
async fn w16_a_secret_must_fit_what_its_vendor_can_send() {
    let world = World::on_one_clock().await;
    let whsec = |bytes: usize| format!("whsec_{}", STANDARD.encode(&KEY[..bytes]));
    let bad_pem = "-----BEGIN PUBLIC KEY-----\nabcdefgh\n-----END PUBLIC KEY-----";
    for (source, secret, fits) in [
        ("graph", "abcdefgh".repeat(16), true),
        ("graph", format!("{}x", "abcdefgh".repeat(16)), false),
        ("standard", whsec(24), true),
        ("standard", whsec(23), false),
        ("fusionauth", SECRET.to_owned(), true),
        ("fusionauth", bad_pem.to_owned(), false),
    ] {
        world.write_secret("webhook-secrets", &json!({ source: secret }));
        let settings = if source == "graph" { sources()["graph"].clone() } else { json!({}) };
        assert_eq!(start(&world, &json!({ source: settings })).await.is_ok(), fits, "{source}: {secret}");
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let errors: Vec<_> = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    errors.join(": ")
}
