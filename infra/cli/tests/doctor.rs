//! Tests that `flexgate doctor` names the cause of each failure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::Command;

use flexgate::domain::ledger::{Person, PersonId, Repairs};
use flexgate::store::{
    DeadLetter, DeadLetters as _, EventQueue as _, Message, Note, Noted, Notes, People as _, SqliteStore,
    UsernameIndex as _,
};
use flexgate_test_support::World;
use serde_json::{Value, json};
use time::Duration;

/// Runs the doctor with changed environment variables. Returns the exit code and the report.
async fn examine(world: &World, changed: &[(&str, &str)]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexgate"));
    command.args(["doctor", "--json"]).env_clear().envs(world.variables()).envs(changed.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&said);
    (output.status.code(), report.unwrap_or_else(|_| unreachable!("{said} {output:?}", output = output.stderr)))
}

fn failures(report: &Value) -> Vec<(&str, String)> {
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["status"] == "failure");
    failed
        .map(|check| (check["check"].as_str().unwrap(), check["text"].to_string() + " " + &check["remedy"].to_string()))
        .collect()
}

/// Asserts that only this check fails, and that its text contains all these words.
async fn names_the_cause(world: &World, changed: &[(&str, &str)], check: &str, words: &[&str]) {
    let (code, report) = examine(world, changed).await;
    let failed = failures(&report);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(!failed.is_empty() && failed.iter().all(|(name, _)| *name == check), "{report:#}");
    for word in words {
        assert!(failed.iter().all(|(_, said)| said.contains(word)), "{word} in {report:#}");
    }
    assert_eq!(report["healthy"], false);
    assert!(!report.to_string().contains(&world.simulator.account().auth_token), "a secret was said");
}

async fn with_key(world: &World, kind: &Value) {
    let key = world.control("credentials", &json!({ "api_key": kind })).await;
    let secret = json!({
        "accountSid": world.simulator.account().account_sid,
        "apiKeySid": key["api_key_sid"], "apiKeySecret": key["api_key_secret"],
    });
    world.write_secret("twilio", &secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_set_up_is_ok_in_every_line() {
    let world = World::start().await;
    let (code, report) = examine(&world, &[]).await;
    assert_eq!(code, Some(0), "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["status"] == "ok"), "{report:#}");
    let names: std::collections::BTreeSet<_> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    let expected = [
        "clock",
        "cookie keys",
        "credential",
        "dead letters",
        "ignored events",
        "instance",
        "issuer",
        "queue",
        "secret",
        "settings",
        "sso",
        "store",
        "sweep",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    assert!(world.journal("Provision").await.is_empty(), "it changed something");

    with_key(&world, &json!({})).await;
    let (code, report) = examine(&world, &[]).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert!(report.to_string().contains("an API key"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r65_a_feed_that_is_about_to_end_is_a_warning() {
    let world = World::start().await;
    let note = Note {
        noted: Noted::Ignored,
        source: "graph".into(),
        route: "subscriptionRemoved".into(),
        code: "ignored".into(),
        reason: "Create the subscription again".into(),
        external_id: None,
        times: 2,
        at: world.clock_rng().now(),
    };
    let store: &dyn Notes = &SqliteStore::open(&world.store_path()).unwrap();
    store.note(&note).await.unwrap();
    let (code, report) = examine(&world, &[]).await;
    let found = report["checks"].as_array().unwrap().iter().find(|check| check["check"] == "ignored events").unwrap();
    assert_eq!((code, &found["status"]), (Some(0), &json!("warning")), "{report:#}");
    assert!(found.to_string().contains("subscriptionRemoved of graph"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_are_a_failure_each_and_no_crash() {
    let world = World::start().await;
    let changed = [("FLEXGATE_PUBLIC_URL", "http://gate.example"), ("FLEXGATE_ISSUERS", "[]")];
    let (code, report) = examine(&world, &changed).await;
    let failed = failures(&report);
    assert_eq!((code, failed.len()), (Some(1), 2), "{report:#}");
    assert!(failed[0].1.contains("FLEXGATE_PUBLIC_URL") && failed[1].1.contains("FLEXGATE_ISSUERS"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r86_a_gateway_for_sso_alone_needs_no_issuer() {
    let world = World::start().await;
    with_key(&world, &json!({})).await;
    let (code, report) = examine(&world, &[("FLEXGATE_ISSUERS", "")]).await;
    assert_eq!(code, Some(0), "{report:#}");
    assert!(report.to_string().contains("no issuer is configured"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_is_named() {
    let world = World::start().await;
    let changed = [("TWILIO_SECRET_ID", "elsewhere")];
    names_the_cause(&world, &changed, "secret", &["elsewhere", "no such secret", "TWILIO_SECRET_ID"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_wrong_shape_is_told_the_right_one() {
    let world = World::start().await;
    world.write_secret("twilio", &json!({ "account": "AC", "token": "hush" }));
    names_the_cause(&world, &[], "secret", &["authToken", "apiKeySid"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auth_token_that_was_rotated_is_not_accepted() {
    let world = World::start().await;
    world.control("credentials", &json!({})).await;
    names_the_cause(&world, &[], "credential", &["auth token", "20003", "rotated"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_is_explained() {
    let world = World::start().await;
    with_key(&world, &json!({ "restricted": true })).await;
    names_the_cause(&world, &[], "credential", &["8001", "restricted", "Standard"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_account_is_explained() {
    let world = World::start().await;
    with_key(&world, &json!({ "foreign": true })).await;
    names_the_cause(&world, &[], "credential", &["70051", "another account"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_another_account_than_the_settings_is_seen() {
    let world = World::start().await;
    let other = format!("AC{}", "9".repeat(32));
    world.write_secret("twilio", &json!({ "accountSid": other, "authToken": "hush" }));
    names_the_cause(&world, &[], "credential", &["TWILIO_ACCOUNT_SID"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_than_the_accounts_is_corrected() {
    let world = World::start().await;
    let other = format!("GO{}", "9".repeat(32));
    let (code, report) = examine(&world, &[("TWILIO_INSTANCE_SID", &other)]).await;
    let failed = failures(&report);
    let right = format!("TWILIO_INSTANCE_SID={}", world.simulator.account().instance_sid);
    assert_eq!(code, Some(1));
    assert!(failed.iter().any(|(check, said)| *check == "instance" && said.contains(&right)), "{report:#}");
    assert!(!failed.iter().any(|(check, _)| *check == "credential"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_without_an_active_configuration_is_named() {
    let world = World::start().await;
    let profiles = format!("default=JQ{}", "9".repeat(32));
    let changed = [("FLEXGATE_SSO_PROFILES", profiles.as_str())];
    names_the_cause(&world, &changed, "sso", &["default", "no active", "FLEXGATE_SSO_PROFILES"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_trusted_url_is_given_to_copy() {
    let world = World::start().await;
    world.control("trusted-urls", &json!({ "trusted_urls": ["http://localhost:9000/"] })).await;
    let words = ["http://localhost:9000/sso/", "/callback", "70251", "Trusted URLs"];
    names_the_cause(&world, &[], "sso", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_does_not_answer_is_named() {
    let world = World::start().await;
    world.fault(&json!({ "service": "idp", "kind": "status", "status": 503, "times": "always" })).await;
    names_the_cause(&world, &[], "issuer", &[&world.simulator.issuer(), "503"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_seen() {
    let world = World::start().await;
    let headers = json!({ "date": "Mon, 06 Jan 2025 10:00:00 GMT" });
    world
        .fault(&json!({ "service": "services", "kind": "delay", "delay_ms": 0, "headers": headers, "times": "always" }))
        .await;
    names_the_cause(&world, &[], "clock", &["ahead of", "NTP"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_opened_is_named_and_hides_nothing_else() {
    let world = World::start().await;
    let changed = [("FLEXGATE_STORE", "sqlite:/nowhere/at/all.db")];
    names_the_cause(&world, &changed, "store", &["FLEXGATE_STORE"]).await;
    let (_, report) = examine(&world, &changed).await;
    assert!(report.to_string().contains("is the account's Flex instance"), "{report:#}");
}

fn event(id: &str, action: &str) -> Message {
    let event = json!({
        "kind": "event", "id": id, "source": "hr", "occurred_at": "2026-01-01T10:00:00Z", "subject": { "id": id },
        "action": action, "profile": { "username": "ada" },
    });
    serde_json::from_value(event).unwrap()
}

/// Runs the doctor. Returns the status of one check, and its text with the remedy.
async fn of_check(world: &World, name: &str) -> (String, String) {
    let (_, report) = examine(world, &[]).await;
    let check = report["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap().clone();
    (check["status"].as_str().unwrap().to_owned(), check["text"].to_string() + &check["remedy"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn r31_several_issuers_that_claim_nobody_are_seen() {
    let world = World::start().await;
    for (may_claim, warns) in [(json!(null), true), (json!(["scim"]), false)] {
        let ours = json!({"issuer": world.simulator.issuer(), "audiences": ["flexgate"], "may_claim": may_claim});
        let other = json!({"issuer": format!("{}/other", world.simulator.url()), "audiences": ["flexgate"]});
        let (_, report) = examine(&world, &[("FLEXGATE_ISSUERS", &json!([ours, other]).to_string())]).await;
        let checks = report["checks"].as_array().unwrap().iter();
        let warned = checks.filter(|check| check["status"] == "warning" && check["check"] == "issuer").count();
        assert_eq!(warned, usize::from(warns), "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_nobody_empties_is_seen_by_its_oldest_event() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let now = world.clock_rng().now();
    store.send(&[event("young", "upsert")], now).await.unwrap();
    let (status, text) = of_check(&world, "queue").await;
    assert!(status == "ok" && text.contains("1 event waits to be applied, the oldest for"), "{text}");

    store.send(&[event("slow", "upsert")], now - Duration::minutes(20)).await.unwrap();
    let (status, text) = of_check(&world, "queue").await;
    assert!(status == "warning" && text.contains("2 events wait") && text.contains("20 min"), "{text}");
    assert!(text.contains("is a gateway running"), "{text}");

    store.send(&[event("stuck", "upsert")], now - Duration::hours(3)).await.unwrap();
    names_the_cause(&world, &[], "queue", &["3 events wait", "for 3 h", "is a gateway running"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_a_warning_before_it_is_old() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let many: Vec<_> = (0..1_000).map(|n| event(&n.to_string(), "upsert")).collect();
    store.send(&many, world.clock_rng().now()).await.unwrap();
    let (status, text) = of_check(&world, "queue").await;
    assert!(status == "warning" && text.contains("1000 events wait"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_a_warning_and_a_failure_where_somebody_keeps_access() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let bury = async |message: &Message| {
        let body = serde_json::to_string(message).unwrap();
        store.bury(DeadLetter::of(&body, 50, "no", world.clock_rng().now())).await.unwrap();
    };
    bury(&event("joiner", "upsert")).await;
    let (status, text) = of_check(&world, "dead letters").await;
    assert!(status == "warning" && text.contains("1 event was given up") && text.contains("retry"), "{text}");

    bury(&event("leaver", "deactivate")).await;
    let words = ["2 events were given up", "1 event takes access away", "flexgate events list"];
    names_the_cause(&world, &[], "dead letters", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_flex_is_not_compared_with_is_a_warning_and_so_is_one_that_somebody_writes_against() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let now = world.clock_rng().now();
    let mut person = Person::new(PersonId::of([1; 16]), "ada".parse().unwrap());
    person.given.repairs = Repairs::default().another(now).unwrap();
    store.add(&person, None).await.unwrap();
    let (status, text) = of_check(&world, "sweep").await;
    assert!(status == "warning" && text.contains("never compared") && text.contains("users sweep"), "{text}");

    store.finish_walk(now - Duration::hours(40)).await.unwrap();
    let (status, text) = of_check(&world, "sweep").await;
    assert!(status == "warning" && text.contains("40 h ago"), "{text}");
    store.finish_walk(now).await.unwrap();
    assert_eq!(of_check(&world, "sweep").await.0, "ok");

    let mut other = Person::new(PersonId::of([2; 16]), "grace".parse().unwrap());
    other.given.repairs = person.given.repairs.another(now).unwrap();
    store.add(&other, None).await.unwrap();
    let (status, text) = of_check(&world, "people").await;
    assert!(status == "warning" && text.contains("1 user was repaired twice") && text.contains("--names"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_source_without_a_secret_is_named() {
    let world = World::start().await;
    world.write_secret("hooks", &json!({ "standard": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oE" }));
    let changed = [("FLEXGATE_WEBHOOKS", r#"{"standard": {}, "okta": {}}"#), ("WEBHOOK_SECRETS_SECRET_ID", "hooks")];
    names_the_cause(&world, &changed, "webhooks", &["okta", "WEBHOOK_SECRETS_SECRET_ID"]).await;
    let (code, report) = examine(&world, &[("FLEXGATE_WEBHOOKS", r#"{"standard": {}}"#), changed[1]]).await;
    assert_eq!(code, Some(0), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scim_tokens_that_are_no_hashes_are_told_where_they_come_from() {
    let world = World::start().await;
    let changed = [("SCIM_TOKENS_SECRET_ID", "scim")];
    let token = json!({ "id": "a", "sha256": "A".repeat(43) });
    world.write_secret("scim", &json!({ "tokens": vec![token; 3] }));
    names_the_cause(&world, &changed, "scim", &["two tokens", "flexgate scim token"]).await;
    world.write_secret("scim", &json!({ "tokens": [{ "id": "a", "sha256": "fgscim_token" }] }));
    names_the_cause(&world, &changed, "scim", &["sha256", "flexgate scim token"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r77_no_scim_token_at_all_is_only_a_warning() {
    let world = World::start().await;
    for document in [json!({ "tokens": [] }), json!({})] {
        world.write_secret("scim", &document);
        let (code, report) = examine(&world, &[("SCIM_TOKENS_SECRET_ID", "scim")]).await;
        assert_eq!((code, failures(&report)), (Some(0), Vec::new()), "{report:#}");
        let checks = report["checks"].as_array().unwrap();
        let scim = checks.iter().find(|check| check["check"] == "scim").unwrap();
        assert_eq!(scim["status"], "warning");
        assert!(scim["text"].as_str().unwrap().contains("401"), "{scim}");
        assert!(scim["remedy"].as_str().unwrap().contains("flexgate scim token"), "{scim}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_keys_that_are_placeholders_are_refused() {
    let world = World::start().await;
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    world.write_secret("cookie-keys", &json!({ "current": "1", "keys": { "1": zeros } }));
    names_the_cause(&world, &[], "cookie keys", &["openssl rand"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twilio_that_cannot_be_reached_is_not_called_a_wrong_credential() {
    let world = World::start().await;
    let (code, report) = examine(&world, &[("FLEXGATE_TWILIO_URL", "http://127.0.0.1:1")]).await;
    let failed = failures(&report);
    assert_eq!(code, Some(1));
    let credential = failed.iter().find(|(check, _)| *check == "credential").unwrap();
    assert!(credential.1.contains("cannot be reached") && credential.1.contains("http://127.0.0.1:1"), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_plain_where_nobody_looks() {
    let world = World::start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexgate"));
    command.arg("doctor").env_clear().envs(world.variables()).env("TWILIO_SECRET_ID", "elsewhere");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("FAILURE  secret") && said.contains("→") && said.contains("ok       store"), "{said}");
    assert!(!said.contains('\u{1b}'), "no colour where nobody looks");
}
