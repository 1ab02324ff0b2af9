//! Tests that request lines and audit events match docs/logging.md.

use std::collections::BTreeSet;
use std::time::Duration;

use flexgate_test_support::{Browser, Process, World};
use serde_json::{Value, json};

const REQUEST: [&str; 14] = [
    "timestamp",
    "level",
    "target",
    "message",
    "function",
    "request_id",
    "method",
    "route",
    "status",
    "duration_ms",
    "upstream_calls",
    "upstream_ms",
    "cold_start",
    "code",
];

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_flat_line_and_each_decision_one_audit_event() {
    let world = World::start().await;
    let mut process = Process::live(env!("CARGO_BIN_EXE_flexgate"), &world);
    let mut browser = Browser::new(process.router());
    let signed_in = browser.sign_in(&world, "ada").await;
    assert_eq!(signed_in.status, 303);
    let unknown = browser.get("/users/FU00000000000000000000000000000bad").await;
    assert_eq!(unknown.status, 401);
    process.terminate();
    let (ended, lines) = tokio::task::spawn_blocking(move || {
        let ended = process.ended(Duration::from_secs(20));
        (ended, process.rest())
    })
    .await
    .unwrap();
    assert!(ended.success());

    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |target: &str| events.iter().filter(|event| event["target"] == target).collect::<Vec<_>>();
    let requests = of("flexgate::request");
    let routes: Vec<_> =
        requests.iter().map(|line| (line["route"].as_str().unwrap(), line["status"].as_u64().unwrap())).collect();
    let expected = [("/sso/{profile}/login", 303), ("/sso/{profile}/callback", 303), ("/users/{flex_user_sid}", 401)];
    assert_eq!(routes, expected);

    let known: BTreeSet<_> = REQUEST.into_iter().chain(["fault"]).collect();
    for line in &requests {
        let fields: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(fields.is_subset(&known), "{fields:?}");
        assert!(line.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()), "flat");
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
    }
    let [login, callback, users] = requests.as_slice() else { unreachable!("{requests:?}") };
    assert_eq!((&login["cold_start"], &callback["cold_start"]), (&json!(true), &json!(false)));
    // Flexgate makes two calls to Twilio: the exchange of the code, and Tokens/Info.
    assert_eq!(callback["upstream_calls"], 2);
    assert!(callback["upstream_ms"].as_f64() <= callback["duration_ms"].as_f64());
    assert_eq!((&users["code"], &users["level"]), (&json!("token_invalid"), &json!("INFO")));
    assert_eq!(callback["request_id"], signed_in.header("x-request-id"));

    let audits = of("flexgate::audit");
    let decisions: Vec<_> =
        audits.iter().map(|event| (event["action"].as_str().unwrap(), event["decision"].as_str().unwrap())).collect();
    assert_eq!(decisions, [("sign_in", "allowed"), ("read_users", "refused")]);
    assert_eq!(audits[0]["request_id"], callback["request_id"]);
    assert!(audits[0]["flex_user_sid"].as_str().unwrap().starts_with("FU"));

    let documentation = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/logging.md");
    let documentation = std::fs::read_to_string(documentation).unwrap();
    for field in REQUEST.into_iter().filter(|name| !["target", "message"].contains(name)) {
        assert!(documentation.contains(&format!("`{field}`")), "docs/logging.md does not mention {field}");
    }
}
