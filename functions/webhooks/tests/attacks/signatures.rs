//! Tests forged deliveries (attacks W1, W2, W3 and W12), and proofs other than signatures.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use flexgate::store::{Lane, Message};

use super::*;

async fn refused(hooks: &Hooks, source: &str, headers: &[(&str, &str)], body: &str) {
    let reply = hooks.post(source, headers, body).await;
    assert_eq!(reply.problem(), (401, "delivery_unproven".to_owned()), "{headers:?}: {}", reply.text);
    // The queue may contain notes for the administrator, but no event.
    let now = hooks.world.clock_rng().now();
    for lane in Lane::ALL {
        for taken in hooks.inbox().take(lane, 50, now, now).await.unwrap() {
            assert!(matches!(serde_json::from_str(&taken.body).unwrap(), Message::Note(_)), "{}", taken.body);
        }
    }
}

#[tokio::test]
async fn r15_a_malformed_path_is_a_problem_document() {
    let hooks = Hooks::start().await;
    for path in ["%ff", "%c3%28"] {
        assert_eq!(hooks.post(path, &[], "{}").await.problem(), (404, "route_unknown".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn w01_a_delivery_without_a_good_id_time_and_signature_is_refused() {
    let hooks = Hooks::start().await;
    let (id, now) = ("msg_1", hooks.now().to_string());
    let body = clerk("user.created", "ada", hooks.now() * 1000).to_string();
    let good = sign(KEY, id, &now, body.as_bytes());
    let all = standard_headers(id, &now, &good);
    for missing in 1..4 {
        let headers: Vec<_> = all.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, h)| *h).collect();
        refused(&hooks, "standard", &headers, &body).await;
    }
    let twice: Vec<_> = all.into_iter().chain([("webhook-signature", good.as_str())]).collect();
    refused(&hooks, "standard", &twice, &body).await;
    let wrong_key = sign(b"another key of thirty-two bytes!", id, &now, body.as_bytes());
    let bare = good.trim_start_matches("v1,");
    for signature in ["", "v1", "v1,", "v1,!", bare, &wrong_key, &good[..good.len() - 4], "v1,AAAA"] {
        refused(&hooks, "standard", &standard_headers(id, &now, signature), &body).await;
    }
    for other in ["", "msg_2", "msg.1"] {
        refused(&hooks, "standard", &standard_headers(other, &now, &good), &body).await;
    }
    // The signature is valid, because id "a" with body "1.x" has the same signed bytes. Flexgate rejects the id.
    let dotted = sign(KEY, "a.1", &now, body.as_bytes());
    refused(&hooks, "standard", &standard_headers("a.1", &now, &dotted), &body).await;
    // Other white space in the JSON makes the signature invalid.
    let pretty = format!("{:#}", serde_json::from_str::<Value>(&body).unwrap());
    refused(&hooks, "standard", &all, &pretty).await;
    refused(&hooks, "standard", &all, &format!("{body} ")).await;
    assert_eq!(hooks.post("standard", &all, body.as_str()).await.status, 202);
}

#[tokio::test]
async fn w02_a_time_out_of_bounds_or_not_in_seconds_is_refused() {
    let hooks = Hooks::start().await;
    let (id, now) = ("msg_1", hooks.now());
    let body = clerk("user.created", "ada", now * 1000).to_string();
    for time in [
        (now - 301).to_string(),
        (now + 301).to_string(),
        "soon".to_owned(),
        (now * 1000).to_string(),
        format!("{now}.0"),
        String::new(),
    ] {
        let signature = sign(KEY, id, &time, body.as_bytes());
        refused(&hooks, "standard", &standard_headers(id, &time, &signature), &body).await;
    }
    for time in [(now - 300).to_string(), (now + 300).to_string()] {
        let signature = sign(KEY, id, &time, body.as_bytes());
        assert_eq!(hooks.post("standard", &standard_headers(id, &time, &signature), body.as_str()).await.status, 202);
    }
}

#[tokio::test]
async fn w03_of_two_signatures_one_must_be_right_and_of_a_known_scheme() {
    let hooks = Hooks::start().await;
    let (id, now) = ("msg_1", hooks.now().to_string());
    let body = clerk("user.created", "ada", hooks.now() * 1000).to_string();
    let good = sign(KEY, id, &now, body.as_bytes());
    let other = sign(b"another key of thirty-two bytes!", id, &now, body.as_bytes());
    for signature in [good.replace("v1,", "v2,"), good.replace("v1,", "v1a,"), format!("{other} v9,abc")] {
        refused(&hooks, "standard", &standard_headers(id, &now, &signature), &body).await;
    }
    let both = format!("{other} {good}");
    assert_eq!(hooks.post("standard", &standard_headers(id, &now, &both), body.as_str()).await.status, 202);
}

#[tokio::test]
async fn w03_two_secrets_are_live_while_one_replaces_the_other() {
    let world = World::on_one_clock().await;
    let (old, new) = (b"the old key of thirty-two bytes!", b"the new key of thirty-two bytes!");
    let secret = |key: &[u8]| format!("whsec_{}", STANDARD.encode(key));
    world.write_secret("webhook-secrets", &json!({ "standard": [secret(new), secret(old)] }));
    let (_platform, router) = start(&world, &json!({ "standard": {} })).await.unwrap();
    let now = world.clock_rng().now().unix_timestamp();
    for key in [old, new] {
        let body = clerk("user.created", "ada", now * 1000).to_string();
        let (id, time) = (hex(&key[4..8]), now.to_string());
        let signature = sign(key, &id, &time, body.as_bytes());
        let mut request = Request::post("/webhooks/standard");
        for (name, value) in standard_headers(&id, &time, &signature) {
            request = request.header(name, value);
        }
        let reply = Browser::new(router.clone()).send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.status, 202);
    }
}

#[tokio::test]
async fn svix_headers_count_like_standard_ones_but_the_sets_do_not_mix() {
    let hooks = Hooks::start().await;
    let (id, now) = ("msg_1", hooks.now().to_string());
    let body = clerk("user.created", "ada", hooks.now() * 1000).to_string();
    let good = sign(KEY, id, &now, body.as_bytes());
    let svix = [JSON, ("svix-id", id), ("svix-timestamp", now.as_str()), ("svix-signature", good.as_str())];
    assert_eq!(hooks.post("standard", &svix, body.as_str()).await.status, 202);
    hooks.settle().await;
    let mixed = [JSON, ("webhook-id", id), ("svix-timestamp", now.as_str()), ("svix-signature", good.as_str())];
    refused(&hooks, "standard", &mixed, &body).await;
}

#[tokio::test]
async fn a_shared_secret_counts_plain_as_a_bearer_token_or_as_basic() {
    let hooks = Hooks::start().await;
    let body = json!({ "data": { "events": [] } }).to_string();
    let basic = format!("Basic {}", STANDARD.encode(SECRET));
    for value in [SECRET, &format!("Bearer {SECRET}"), &basic] {
        assert_eq!(hooks.post("okta", &[JSON, ("authorization", value)], body.as_str()).await.status, 202, "{value}");
    }
    let longer = format!("{SECRET}x");
    for value in ["", "x", &SECRET[1..], &longer, "Bearer", "Basic !!!"] {
        refused(&hooks, "okta", &[JSON, ("authorization", value)], &body).await;
    }
    refused(&hooks, "okta", &[JSON], &body).await;
    refused(&hooks, "okta", &[JSON, ("authorization", SECRET), ("authorization", SECRET)], &body).await;
}

#[tokio::test]
async fn workos_counts_milliseconds_and_zitadel_seconds() {
    let hooks = Hooks::start().await;
    let body = "{\"event\":\"other\",\"event_type\":\"other\"}";
    let header = |time: &str| {
        let mac = hmac_sha256(SECRET.as_bytes(), format!("{time}.{body}").as_bytes());
        format!("t={time},v1={}", hex(&mac))
    };
    let (seconds, millis) = (hooks.now().to_string(), (hooks.now() * 1000).to_string());
    let old = ((hooks.now() - 181) * 1000).to_string();
    for (source, name, good, bad) in [
        ("workos", "workos-signature", &millis, [&seconds, &old]),
        ("zitadel", "zitadel-signature", &seconds, [&millis, &old]),
    ] {
        assert_eq!(hooks.post(source, &[JSON, (name, &header(good))], body).await.status, 202, "{source}");
        for time in bad {
            refused(&hooks, source, &[JSON, (name, &header(time))], body).await;
        }
        let double = format!("t={good},{}", header(good));
        let upper = header(good).replace("v1=", "v0=");
        for value in ["", "t=1", &double, &upper, "v1=00", &header(good)[..40]] {
            refused(&hooks, source, &[JSON, (name, value)], body).await;
        }
    }
}

fn jwt(header: &Value, claims: &Value, key: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256(key, signed.as_bytes())))
}

#[tokio::test]
async fn w12_fusionauths_jwt_must_be_signed_by_our_key_over_this_very_body() {
    let hooks = Hooks::start().await;
    let body = json!({ "event": { "type": "jwt.refresh" } }).to_string();
    let hash = |bytes: &str| STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, bytes.as_bytes()));
    let claims = json!({ "request_body_sha256": hash(&body) });
    let (hs, key) = (json!({ "alg": "HS256", "typ": "JWT" }), SECRET.as_bytes());
    let good = jwt(&hs, &claims, key);
    let unsigned = format!("{}.", jwt(&json!({ "alg": "none" }), &claims, key).rsplit_once('.').unwrap().0);
    for token in [
        unsigned,
        jwt(&json!({ "alg": "none" }), &claims, key),
        jwt(&json!({ "alg": "NONE" }), &claims, key),
        jwt(&json!({ "alg": "RS256" }), &claims, key),
        jwt(&json!({ "alg": "HS512" }), &claims, key),
        jwt(&json!({ "alg": "HS256", "crit": ["exp"] }), &claims, key),
        jwt(&json!({}), &claims, key),
        jwt(&hs, &json!({ "request_body_sha256": hash("{}") }), key),
        jwt(&hs, &json!({}), key),
        jwt(&hs, &json!({ "request_body_sha256": hash(&body), "exp": 1 }), key),
        jwt(&hs, &claims, b"some other key"),
        String::new(),
        "a.b.c".to_owned(),
    ] {
        refused(&hooks, "fusionauth", &[JSON, ("x-fusionauth-signature-jwt", &token)], &body).await;
    }
    refused(&hooks, "fusionauth", &[JSON], &body).await;
    let lasting = jwt(&hs, &json!({ "request_body_sha256": hash(&body), "exp": i64::MAX }), key);
    for token in [good, lasting] {
        let reply = hooks.post("fusionauth", &[JSON, ("x-fusionauth-signature-jwt", &token)], body.clone()).await;
        assert_eq!(reply.status, 202);
    }
}

#[tokio::test]
async fn an_unknown_source_is_not_found_and_a_refusal_tells_nothing() {
    let hooks = Hooks::start().await;
    for source in ["nobody", "Okta", "%2e%2e", "okta%00"] {
        assert_eq!(hooks.post(source, &[JSON], "{}").await.problem(), (404, "source_unknown".to_owned()), "{source}");
    }
    let reply = hooks.post("okta", &[JSON, ("authorization", "guess")], "{}").await;
    assert!(!reply.text.contains("header") && !reply.text.contains("guess") && !reply.text.contains(SECRET));
}
