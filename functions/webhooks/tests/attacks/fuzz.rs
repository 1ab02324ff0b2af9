//! Tests that no input, signed or not, causes a panic or a status of 500 or more.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        Just("type"),
        Just("event"),
        Just("event_type"),
        Just("data"),
        Just("events"),
        Just("target"),
        Just("id"),
        Just("user"),
        Just("value"),
        Just("clientState"),
        Just("resourceData"),
        Just("object"),
        Just("updated_at"),
        Just("eventType"),
        Just("createInstant"),
        Just("event_payload"),
        Just("aggregateID"),
        Just("sequence"),
        Just("published"),
        Just("email_addresses"),
        Just("who"),
        Just("what"),
        Just("when"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(json!(SECRET)),
        prop_oneof![
            Just("user.created"),
            Just("user.deleted"),
            Just("dsync.user.updated"),
            Just("hired"),
            Just("User"),
            Just("user.human.added"),
            Just("user.create.complete"),
            Just("group.user_membership.add"),
            Just("deleted")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Returns headers that authenticate the body for every source in `SOURCES`.
fn proofs(body: &[u8], now: i64) -> Vec<(&'static str, String)> {
    let (seconds, millis) = (now.to_string(), (now * 1000).to_string());
    let stamped = |time: &str| {
        format!("t={time},v1={}", hex(&hmac_sha256(SECRET.as_bytes(), &[time.as_bytes(), b".", body].concat())))
    };
    let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body));
    let claims = json!({ "request_body_sha256": hash }).to_string();
    let signed = format!("{}.{}", b64(br#"{"alg":"HS256"}"#), b64(claims.as_bytes()));
    let token = format!("{signed}.{}", b64(&hmac_sha256(SECRET.as_bytes(), signed.as_bytes())));
    vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", seconds.clone()),
        ("webhook-signature", sign(KEY, "msg_1", &seconds, body)),
        ("authorization", SECRET.to_owned()),
        ("workos-signature", stamped(&millis)),
        ("zitadel-signature", stamped(&seconds)),
        ("x-fusionauth-signature-jwt", token),
    ]
}

const SOURCES: [&str; 8] = ["standard", "hr", "okta", "auth0", "workos", "fusionauth", "zitadel", "graph"];

fn check(cases: u32, bodies: impl Strategy<Value = Vec<u8>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let hooks = runtime.block_on(Hooks::start());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut accepted = 0;
    TestRunner::new(config)
        .run(&bodies, |body| {
            let proofs = proofs(&body, hooks.now());
            let headers: Vec<_> = proofs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            for source in SOURCES {
                let reply = runtime.block_on(hooks.post(source, &headers, body.clone()));
                let status = reply.status.as_u16();
                prop_assert!(status == 202 || (400..500).contains(&status), "{} {}", source, status);
            }
            Ok(())
        })
        .unwrap();
    accepted += runtime.block_on(hooks.inbox().count(EventStatus::Waiting)).unwrap();
    // Flexgate must process every accepted event, so none may stay in the queue.
    runtime.block_on(hooks.settle());
    assert_eq!(runtime.block_on(hooks.inbox().count(EventStatus::Waiting)).unwrap(), 0, "of {accepted}");
}

#[test]
fn no_proven_json_is_answered_with_a_server_error() {
    check(150, any_json().prop_map(|json| json.to_string().into_bytes()));
}

#[test]
fn no_bytes_are_answered_with_a_server_error() {
    check(60, any::<Vec<u8>>());
}
