//! Tests forged deliveries (attacks W1, W2, W3 and W12 of the attack register), and authentication without signatures.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use flexgate::store::{Lane, Message};
use flexgate_simulator::rsa_pkcs8;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};

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
    // The signature is valid, but Flexgate rejects an id that contains a full stop. Full stops separate the id, the
    // time and the body in the signed text. With such an id, somebody could divide the same text differently.
    let dotted = sign(KEY, "a.1", &now, body.as_bytes());
    refused(&hooks, "standard", &standard_headers("a.1", &now, &dotted), &body).await;
    // Changed white space in the JSON makes the signature invalid.
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
    let (digest, token) = (basic.replace("Basic", "Digest"), format!("Token {SECRET}"));
    for value in ["", "x", &SECRET[1..], &longer, "Bearer", "Basic !!!", &digest, &token] {
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
async fn w12_fusionauths_jwt_counts_until_a_minute_after_its_end() {
    let hooks = Hooks::start().await;
    let body = json!({ "event": { "type": "jwt.refresh" } }).to_string();
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body.as_bytes()));
    let token = |exp: Value| {
        let claims = json!({ "request_body_sha256": hash, "exp": exp });
        jwt(&json!({ "alg": "HS256" }), &claims, SECRET.as_bytes())
    };
    let now = hooks.now();
    for exp in [json!(now - 61), json!(now - 3600), json!("soon"), json!(null)] {
        refused(&hooks, "fusionauth", &[JSON, ("x-fusionauth-signature-jwt", &token(exp))], &body).await;
    }
    for exp in [now - 60, now, now + 3600] {
        let token = token(exp.into());
        let reply = hooks.post("fusionauth", &[JSON, ("x-fusionauth-signature-jwt", &token)], body.as_str()).await;
        assert_eq!(reply.status, 202, "{exp}");
    }
}

/// Starts the function with this secret for `FusionAuth`. Sends a body, with a JWT that contains the body's digest.
/// Returns the status.
async fn fusionauth_status(secret: &str, algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> u16 {
    let world = World::on_one_clock().await;
    world.write_secret("webhook-secrets", &json!({ "fusionauth": secret }));
    let (_platform, router) = start(&world, &json!({ "fusionauth": {} })).await.unwrap();
    let body = json!({ "event": { "type": "jwt.refresh" } }).to_string();
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body.as_bytes()));
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(json!({ "alg": algorithm })), part(json!({ "request_body_sha256": hash })));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())));
    let request = Request::post("/webhooks/fusionauth").header(JSON.0, JSON.1);
    let request = request.header("x-fusionauth-signature-jwt", token).body(Body::from(body)).unwrap();
    Browser::new(router).send(request).await.status.as_u16()
}

/// A public key in PEM. `prefix` is the part of its DER before the key, in hexadecimal.
fn pem(label: &str, prefix: &str, key: &[u8]) -> String {
    let digits = |at: usize| u8::from_str_radix(&prefix[at..at + 2], 16).unwrap();
    let der: Vec<u8> = (0..prefix.len()).step_by(2).map(digits).chain(key.iter().copied()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[tokio::test]
async fn w12_fusionauths_jwt_may_have_any_algorithm_that_fits_the_key() {
    for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        let key = hmac::Key::new(algorithm, SECRET.as_bytes());
        let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
        assert_eq!(fusionauth_status(SECRET, name, sign).await, 202, "{name}");
    }
    let rng = SystemRandom::new();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&rng).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let secret = pem("PUBLIC KEY", "302a300506032b6570032100", pair.public_key().as_ref());
    let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
    for (name, status) in [("EdDSA", 202), ("Ed25519", 202), ("ES256", 401), ("HS256", 401)] {
        assert_eq!(fusionauth_status(&secret, name, sign).await, status, "{name}");
    }
    // A public key is not secret, so Flexgate must not accept it as the key of an HMAC.
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let forged = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
    assert_eq!(fusionauth_status(&secret, "HS256", forged).await, 401);
    for (name, algorithm, prefix) in [
        ("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING, "3059301306072a8648ce3d020106082a8648ce3d030107034200"),
        ("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING, "3076301006072a8648ce3d020106052b81040022036200"),
    ] {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
        let secret = pem("PUBLIC KEY", prefix, pair.public_key().as_ref());
        let sign = |message: &[u8]| pair.sign(&rng, message).unwrap().as_ref().to_vec();
        assert_eq!(fusionauth_status(&secret, name, sign).await, 202, "{name}");
        assert_eq!(fusionauth_status(&secret, "EdDSA", sign).await, 401, "{name}");
    }
    let pair = RsaKeyPair::from_pkcs8(&rsa_pkcs8().unwrap()).unwrap();
    let secret = pem("RSA PUBLIC KEY", "", pair.public().as_ref());
    let encodings: [(&str, &'static dyn RsaEncoding); 3] =
        [("RS256", &RSA_PKCS1_SHA256), ("RS384", &RSA_PKCS1_SHA384), ("RS512", &RSA_PKCS1_SHA512)];
    for (name, encoding) in encodings {
        let sign = |message: &[u8]| {
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(encoding, &rng, message, &mut signature).unwrap();
            signature
        };
        assert_eq!(fusionauth_status(&secret, name, sign).await, 202, "{name}");
        assert_eq!(fusionauth_status(&secret, "PS256", sign).await, 401, "{name}");
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
