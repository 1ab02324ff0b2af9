//! Tests the built bootstraps against a local server of Lambda's runtime API.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run passes the bootstraps' folder in the environment")]

#[expect(dead_code, reason = "only the store's own suites use all of it")]
#[path = "../../../shared/tests/common/dynamodb.rs"]
mod dynamodb;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use flexgate_lambda_tests::{Function, Outcome, TRACE, event};
use flexgate_test_support::{GATEWAY, World, free_port};
use serde_json::{Value, json};

const TIME: Duration = Duration::from_secs(10);

/// Returns the path of a bootstrap (a function's program on Lambda). If the variable `FLEXGATE_BOOTSTRAPS` is set, the
/// bootstrap is in the folder that it names. Otherwise, it is one level above the folder of this test's binary.
fn bootstrap(name: &str) -> PathBuf {
    if let Some(packaged) = std::env::var_os("FLEXGATE_BOOTSTRAPS") {
        return PathBuf::from(packaged).join(name);
    }
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    folder.join(format!("flexgate-{name}"))
}

/// Returns the settings of the simulated world, but with a DynamoDB table and an SQS queue, because functions built for
/// Lambda require them.
async fn variables(world: &World) -> Vec<(&'static str, String)> {
    let endpoint = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT").unwrap();
    let (table, _, _) = dynamodb::new_table(&endpoint).await;
    variables_of(world, &table, endpoint)
}

fn variables_of(world: &World, table: &str, endpoint: String) -> Vec<(&'static str, String)> {
    let mut variables = world.variables();
    variables.retain(|(name, _)| *name != "FLEXGATE_STORE");
    variables.extend([
        ("FLEXGATE_STORE", format!("dynamodb:{table}")),
        ("FLEXGATE_QUEUE", format!("sqs:{endpoint}/123456789012/events.fifo")),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ]);
    variables
}

fn answer(outcome: Outcome) -> (u64, Value) {
    let Outcome::Response(response) = outcome else { unreachable!("{outcome:?}") };
    let body = serde_json::from_str(response["body"].as_str().unwrap_or_default()).unwrap_or_default();
    (response["statusCode"].as_u64().unwrap(), body)
}

async fn sso(world: &World) -> Function {
    Function::start(&bootstrap("sso"), &variables(world).await).await
}

fn validate() -> Value {
    event("POST", "/sso/validate", &json!({}), Some(&json!({ "token": "not.a.token" })))
}

#[tokio::test]
async fn every_function_answers_and_ends_on_sigterm() {
    let world = World::start().await;
    for name in ["sso", "mint", "provision"] {
        let mut function = Function::start(&bootstrap(name), &variables(&world).await).await;
        let (status, body) = answer(function.invoke(&event("GET", "/health", &json!({}), None), TIME).await);
        assert_eq!((status, body["function"].as_str()), (200, Some(name)));
        let (status, body) = answer(function.invoke(&event("GET", "/nothing", &json!({}), None), TIME).await);
        assert_eq!((status, body["code"].as_str()), (404, Some("route_unknown")));
        assert!(function.lives());
        function.terminate().await;
    }
}

#[tokio::test]
async fn a_slow_upstream_is_a_504_before_the_functions_time_is_over() {
    let world = World::start().await;
    let slow = json!({ "service": "flex-api", "kind": "delay", "delay_ms": 8000, "times": "always" });
    world.fault(&slow).await;
    let mut function = sso(&world).await;
    let _warm = function.invoke(&event("GET", "/health", &json!({}), None), TIME).await;
    let began = Instant::now();
    let (status, body) = answer(function.invoke(&validate(), Duration::from_millis(2_000)).await);
    assert_eq!((status, body["code"].as_str()), (504, Some("timeout")));
    assert!(began.elapsed() < Duration::from_millis(2_000), "{:?}", began.elapsed());
    assert!(function.lives());
}

#[tokio::test]
async fn a_request_that_makes_lambda_http_panic_costs_one_answer_and_no_more() {
    let world = World::start().await;
    let mut function = sso(&world).await;
    for headers in [json!({ "host": "a b" }), json!({ "x-forwarded-proto": "ht tp" })] {
        let strange = function.invoke(&event("GET", "/health", &headers, None), TIME).await;
        // The runtime client cannot parse this event, so the invocation fails before it reaches Flexgate.
        assert!(matches!(&strange, Outcome::Error(error) if error["errorMessage"].is_string()), "{strange:?}");
        let (status, _) = answer(function.invoke(&event("GET", "/health", &json!({}), None), TIME).await);
        assert_eq!(status, 200, "the next request is served, after {headers}");
        assert!(function.lives());
    }
}

#[tokio::test]
async fn a_panic_of_ours_costs_one_500_and_no_more() {
    let world = World::start().await;
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let mut variables = variables(&world).await;
    variables.push(("FLEXGATE_METRICS", "emf:Flexgate/test".to_owned()));
    let mut function = Function::start(&folder.join("examples/panics"), &variables).await;
    for _ in 0..2 {
        let (status, body) = answer(function.invoke(&event("GET", "/panic", &json!({}), None), TIME).await);
        assert_eq!((status, body["code"].as_str()), (500, Some("internal")), "{body}");
        let (status, _) = answer(function.invoke(&event("GET", "/health", &json!({}), None), TIME).await);
        assert_eq!(status, 200, "the next request is served");
    }
    let is_line = |line: &&Value| line["target"] == "flexgate::request";
    let lines = function.lines(|lines| lines.iter().filter(is_line).count() == 4).await;
    assert_eq!(lines.iter().filter(|line| line["status"] == 500 && line["level"] == "ERROR").count(), 2);
    assert_eq!(lines.iter().filter(|line| line["outcome"] == "fault").count(), 2, "one metric for each: {lines:?}");
    assert!(function.lives());
}

#[tokio::test]
async fn a_table_out_of_reach_is_a_503_in_time() {
    let world = World::start().await;
    let mut variables = variables(&world).await;
    variables.push(("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", free_port())));
    let mut function = Function::start(&bootstrap("sso"), &variables).await;
    let session = "A".repeat(43);
    let headers =
        json!({ "origin": GATEWAY, "x-flexgate": "1", "cookie": format!("__Host-flexgate-session={session}") });
    let (status, body) = answer(function.invoke(&event("POST", "/sso/token", &headers, None), TIME).await);
    assert_eq!((status, body["code"].as_str()), (503, Some("unavailable")), "{body}");
    assert!(function.lives());
}

fn batch(records: &[(&str, &str, &Value)]) -> Value {
    let record = |(id, group, body): &(&str, &str, &Value)| {
        json!({ "messageId": id, "body": body.to_string(), "eventSource": "aws:sqs", "attributes": {
            "MessageGroupId": group, "ApproximateReceiveCount": "1" } })
    };
    json!({ "Records": records.iter().map(record).collect::<Vec<_>>() })
}

fn message(id: &str, who: &str) -> Value {
    json!({ "kind": "event", "id": id, "source": "standard", "occurred_at": "2026-01-01T10:00:00Z",
            "subject": { "id": who }, "action": "upsert",
            "profile": { "username": who, "email": format!("{who}@example.com"), "full_name": who } })
}

fn failed(outcome: Outcome) -> Vec<String> {
    let Outcome::Response(response) = outcome else { unreachable!("{outcome:?}") };
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn of_a_batch_what_fails_comes_again_and_the_rest_is_done() {
    let world = World::start().await;
    let mut variables = variables(&world).await;
    variables.push(("FLEXGATE_METRICS", "emf:Flexgate/test".to_owned()));
    let mut apply = Function::start(&bootstrap("apply"), &variables).await;
    let leaves = |id: &str| {
        let mut message = message(id, "ada");
        (message["action"], message["occurred_at"]) = (json!("deactivate"), json!("2026-01-01T11:00:00Z"));
        message
    };
    let (ada, later, grace, poison) = (leaves("1"), leaves("2"), message("3", "grace"), json!("poison"));
    let records = [("a", "ada", &ada), ("b", "ada", &later), ("c", "grace", &grace), ("d", "x", &poison)];
    // Create ada at Twilio first. Then make only the requests about her fail, so that the batch's other messages
    // succeed.
    assert_eq!(failed(apply.invoke(&batch(&[("0", "ada", &message("0", "ada"))]), TIME).await), Vec::<String>::new());
    let sid = world.twilio_user("ada").await.unwrap()["flex_user_sid"].clone();
    let fault = json!({ "service": "flex-api", "path_contains": sid, "kind": "status", "status": 503, "times": 3 });
    world.fault(&fault).await;
    assert_eq!(failed(apply.invoke(&batch(&records), TIME).await), ["a", "b"]);
    assert_eq!(failed(apply.invoke(&batch(&records[..2]), TIME).await), Vec::<String>::new());
    let made = world.journal("/Provision").await;
    let bodies: Vec<_> = made.iter().map(|request| request["body"].as_str().unwrap()).collect();
    for who in ["ada", "grace"] {
        assert!(bodies.iter().any(|body| body.contains(&format!("{who}@example.com"))), "{bodies:?}");
    }
    // This payload is not a batch of events, so its invocation fails. The next invocation must succeed.
    assert!(matches!(apply.invoke(&json!({ "Records": 7 }), TIME).await, Outcome::Error(_)));
    assert_eq!(
        failed(apply.invoke(&batch(&[("e", "linus", &message("4", "linus"))]), TIME).await),
        Vec::<String>::new()
    );
    // Each dead letter must increase the metric once. The metrics must not contain any text from a message.
    let lines = apply.lines(|lines| lines.iter().any(|line| line["dead_letters"] == 1.0)).await;
    let metrics: Vec<_> = lines.iter().filter(|line| line.get("_aws").is_some()).collect();
    assert_eq!(metrics.iter().filter(|line| line.get("dead_letters").is_some()).count(), 1);
    let is_fault = |line: &&Value| line["target"] == "flexgate::apply" && line["level"] == "ERROR";
    assert_eq!(lines.iter().filter(is_fault).count(), 1, "and its reason is logged: {lines:?}");
    for line in metrics {
        for personal in ["ada", "grace", "linus", "@", "poison"] {
            assert!(!line.to_string().contains(personal), "{line}");
        }
    }
    apply.terminate().await;
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_batch_ends_the_function_at_once_and_loses_nothing() {
    let world = World::start().await;
    let slow = json!({ "service": "flex-api", "path_contains": "Provision", "kind": "delay", "delay_ms": 8000 });
    world.fault(&slow).await;
    let ada = message("1", "ada");
    let ada = batch(&[("a", "ada", &ada)]);
    let mut apply = Function::start(&bootstrap("apply"), &variables(&world).await).await;
    let answered = tokio::time::timeout(Duration::from_millis(1_500), apply.invoke(&ada, TIME)).await;
    assert!(answered.is_err(), "it waits for Twilio: {answered:?}");
    apply.terminate().await;
    // If a batch gets no answer, SQS delivers the batch again, perhaps to another instance.
    let mut another = Function::start(&bootstrap("apply"), &variables(&world).await).await;
    assert_eq!(failed(another.invoke(&ada, TIME).await), Vec::<String>::new());
    let made = world.journal("/Provision").await;
    assert!(made.iter().any(|request| request["status"] == 201), "{made:?}");
}

#[tokio::test]
async fn a_batch_that_twilio_is_too_slow_for_is_handed_back_before_the_functions_time_is_over() {
    let world = World::start().await;
    world.fault(&json!({ "service": "flex-api", "kind": "delay", "delay_ms": 8000, "times": "always" })).await;
    let mut apply = Function::start(&bootstrap("apply"), &variables(&world).await).await;
    let (ada, grace) = (message("1", "ada"), message("2", "grace"));
    let began = Instant::now();
    let outcome = apply.invoke(&batch(&[("a", "ada", &ada), ("b", "grace", &grace)]), Duration::from_secs(4)).await;
    assert_eq!(failed(outcome), ["a", "b"]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(apply.lives());
}

#[tokio::test]
async fn a_webhook_is_accepted_or_refused() {
    let world = World::start().await;
    world.write_secret("hooks", &json!({ "okta": "k7Qm2xVt9RzP4sWb8NcY" }));
    let mut variables = variables(&world).await;
    variables.push(("WEBHOOK_SECRETS_SECRET_ID", "hooks".to_owned()));
    variables.push(("FLEXGATE_WEBHOOKS", json!({ "okta": {} }).to_string()));
    let mut webhooks = Function::start(&bootstrap("webhooks"), &variables).await;
    let delivery = json!({ "data": { "events": [] } });
    for (secret, expected) in [("k7Qm2xVt9RzP4sWb8NcY", 202), ("wrong-k7Qm2xVt9RzP4sWb8NcY", 401)] {
        let request = event("POST", "/webhooks/okta", &json!({ "authorization": secret }), Some(&delivery));
        let (status, body) = answer(webhooks.invoke(&request, TIME).await);
        assert_eq!(status, expected, "{body}");
    }
    webhooks.terminate().await;
}

/// Starts a function whose secrets have the initial values from the template: no SCIM token and no webhook secret. The
/// function does not need AWS, because it refuses the tests' requests. So nothing listens at the address that the
/// function uses for AWS.
async fn with_unset_secrets(world: &World, name: &str) -> Function {
    world.write_secret("scim-tokens", &json!({ "tokens": [] }));
    world.write_secret("hooks", &json!({}));
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let mut variables = variables_of(world, "none", nowhere);
    variables.extend([
        ("FLEXGATE_METRICS", "emf:Flexgate/test".to_owned()),
        ("SCIM_TOKENS_SECRET_ID", "scim-tokens".to_owned()),
        ("WEBHOOK_SECRETS_SECRET_ID", "hooks".to_owned()),
        ("FLEXGATE_WEBHOOKS", json!({ "okta": {}, "standard": {} }).to_string()),
    ]);
    Function::start(&bootstrap(name), &variables).await
}

/// Waits for the log lines of `count` requests. Asserts that the function has logged no error, and no metric that
/// raises the alarm `SecretAlarm`. Returns the field `fault` of each of the requests' lines that has this field.
async fn quiet(function: &Function, count: usize) -> Vec<String> {
    let is_request = |line: &&Value| line["target"] == "flexgate::request";
    let lines = function.lines(|lines| lines.iter().filter(is_request).count() == count).await;
    let loud =
        |line: &&Value| line.get("credential_failures").is_some() || line["level"] == "ERROR" || line.is_string();
    assert_eq!(lines.iter().find(loud), None);
    lines.iter().filter(is_request).filter_map(|line| line["fault"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn r77_a_cold_start_without_scim_tokens_raises_no_alarm() {
    let world = World::start().await;
    let mut provision = with_unset_secrets(&world, "provision").await;
    let headers = json!({ "authorization": "Bearer fgscim_made-up" });
    for _ in 0..2 {
        let (status, body) = answer(provision.invoke(&event("GET", "/scim/v2/Users", &headers, None), TIME).await);
        assert_eq!((status, body["status"].as_str()), (401, Some("401")), "{body}");
    }
    let reasons = quiet(&provision, 2).await;
    assert!(reasons.iter().all(|reason| reason.contains("scim-tokens")) && reasons.len() == 2, "{reasons:?}");
    provision.terminate().await;
}

#[tokio::test]
async fn w16_webhooks_start_without_secrets_and_raise_no_alarm_about_secrets() {
    let world = World::start().await;
    let mut webhooks = with_unset_secrets(&world, "webhooks").await;
    let delivery = json!({ "data": { "events": [] } });
    for source in ["okta", "standard"] {
        let request = event("POST", &format!("/webhooks/{source}"), &json!({ "authorization": "x" }), Some(&delivery));
        let (status, body) = answer(webhooks.invoke(&request, TIME).await);
        assert_eq!((status, body["code"].as_str()), (503, Some("unavailable")), "{body}");
        assert!(!body.to_string().contains(source), "{body}");
    }
    let reasons = quiet(&webhooks, 2).await;
    assert!(reasons[0].contains("the source okta has no secret"), "{reasons:?}");
    assert!(reasons[1].contains("the source standard has no secret"), "{reasons:?}");
    webhooks.terminate().await;
}

#[tokio::test]
async fn twilio_is_told_the_trace_of_the_invocation_and_never_the_callers() {
    let world = World::start().await;
    let mut function = sso(&world).await;
    let forged = json!({ "x-amzn-trace-id": "Root=1-00000000-000000000000000000000000;forged" });
    let asked = event("POST", "/sso/validate", &forged, Some(&json!({ "token": "not.a.token" })));
    let (status, _) = answer(function.invoke(&asked, TIME).await);
    assert_eq!(status, 401);
    let journal = world.journal("").await;
    let traces: Vec<_> = journal.iter().map(|request| &request["headers"]["x-amzn-trace-id"]).collect();
    assert!(!traces.is_empty() && traces.iter().all(|trace| **trace == json!(TRACE)), "{traces:?}");
}

#[tokio::test]
async fn an_issuer_is_told_the_trace_of_the_invocation_that_fetches_its_keys() {
    let world = World::start().await;
    let mut variables = variables(&world).await;
    variables.push(("FLEXGATE_PREWARM_MILLISECONDS", "0".to_owned()));
    let mut mint = Function::start(&bootstrap("mint"), &variables).await;
    let token = world.token(&json!({ "sub": "ada", "scope": "flexgate.token" })).await;
    let asked = event("POST", "/token", &json!({ "authorization": format!("Bearer {token}") }), Some(&json!({})));
    let (status, body) = answer(mint.invoke(&asked, TIME).await);
    assert_ne!(status, 401, "its keys verify the token: {body}");
    let journal = world.journal("jwks").await;
    let traces: Vec<_> = journal.iter().map(|request| &request["headers"]["x-amzn-trace-id"]).collect();
    assert_eq!(traces, [&json!(TRACE)]);
}

#[tokio::test]
async fn metrics_are_written_beside_the_log_and_hold_nothing_about_a_person() {
    let world = World::start().await;
    let mut variables = variables(&world).await;
    variables.push(("FLEXGATE_METRICS", "emf:Flexgate/test".to_owned()));
    let mut function = Function::start(&bootstrap("sso"), &variables).await;
    world.fault(&json!({ "service": "iam", "kind": "status", "status": 503, "times": "always" })).await;
    world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": "always" })).await;
    let (status, _) = answer(function.invoke(&validate(), TIME).await);
    assert_eq!(status, 503);
    let is_metric = |line: &Value| line.get("_aws").is_some();
    let requests = |lines: &[Value]| lines.iter().filter(|line| line.get("requests").is_some()).count();
    let lines = function.lines(|lines| requests(lines) == 1).await;
    assert!(lines.iter().all(Value::is_object), "every line is a JSON object: {lines:?}");
    let metrics: Vec<_> = lines.into_iter().filter(is_metric).collect();
    let request = metrics.iter().find(|line| line.get("requests").is_some()).unwrap();
    let said = |name: &str| request[name].clone();
    assert_eq!(
        [said("function"), said("route"), said("outcome")],
        [json!("sso"), json!("/sso/validate"), json!("upstream")]
    );
    assert_eq!(
        [said("requests"), said("cold_starts"), said("upstream_failures")],
        [json!(1.0), json!(1.0), json!(1.0)]
    );
    assert!(said("duration").as_f64().unwrap() >= said("upstream_latency").as_f64().unwrap(), "{request}");
    for line in &metrics {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            assert_eq!(directive["Namespace"], "Flexgate/test");
            let names = directive["Dimensions"][0].as_array().unwrap().iter();
            for name in names.chain(directive["Metrics"].as_array().unwrap().iter().map(|metric| &metric["Name"])) {
                assert!(line.get(name.as_str().unwrap()).is_some(), "{name} of {line}");
            }
        }
        assert!(!line.to_string().contains("not.a.token"), "{line}");
    }
}

#[tokio::test]
async fn the_first_random_number_of_a_process_comes_within_five_milliseconds() {
    let world = World::start().await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut function = sso(&world).await;
        let (status, _) = answer(function.invoke(&event("GET", "/health", &json!({}), None), TIME).await);
        assert_eq!(status, 200);
        let is_line = |line: &Value| line["target"] == "flexgate::request";
        let lines = function.lines(|lines| lines.iter().any(is_line)).await;
        let line = lines.into_iter().find(is_line).unwrap();
        assert_eq!(line["cold_start"], true);
        // The function needs its first random number for the id of this request. So the duration includes seeding the
        // generator.
        times.push(line["duration_ms"].as_f64().unwrap());
    }
    // Use the fastest of five runs, because other processes may slow down the machine. If the function gathered entropy
    // itself, every run would be slow.
    let best = times.iter().copied().fold(f64::MAX, f64::min);
    assert!(best < 5.0, "{times:?} ms");
}
