//! Tests the binary `flexgate` as a user would run it.

use std::process::Command;
use std::time::Duration;

use flexgate_test_support::{Browser, Process, World, free_port};
use http::Request;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const PATIENCE: Duration = Duration::from_secs(20);

async fn refreshes(world: &World) -> usize {
    let journal = world.journal("OAuth/Tokens").await;
    journal.iter().filter(|request| request["body"].to_string().contains("RefreshToken")).count()
}

#[test]
fn it_serves_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let mut command = Command::new(BINARY);
    command
        .args(["--port", &ports[0], "--simulator-port", &ports[1], "--tls-port", &ports[2], "--data-dir"])
        .arg(folder.path())
        // The simulated set-up must ignore a real account's settings.
        .env("TWILIO_ACCOUNT_SID", "ACffffffffffffffffffffffffffffffff");
    let mut process = Process::spawn(command, ports[0].parse().unwrap());
    let said = process.wait_for("Ctrl-C", PATIENCE).join("\n");
    assert!(said.contains(&format!("http://localhost:{}", ports[0])), "{said}");
    assert!(said.contains(&format!("http://localhost:{}", ports[1])), "{said}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut browser = Browser::new(process.router());
        let health = browser.get("/health").await;
        assert_eq!((health.status.as_u16(), &health.body["function"]), (200, &json!("local")));
        let page = browser.get("/").await;
        assert!(page.text.starts_with("<!doctype html>") && page.header("content-security-policy").contains("'self'"));
        let config = browser.get("/sso/default/config").await.body;
        assert_eq!(config["account_sid"], "AC00000000000000000000000000000001");
    });
    process.terminate();
    assert!(process.ended(PATIENCE).success());
}

#[test]
fn the_demo_shows_every_flow_and_succeeds() {
    let output = Command::new(BINARY).arg("demo").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let steps: Vec<_> =
        said.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    let flows = ["sso", "validate", "refresh", "provision", "find", "mint", "deprovision"];
    for (step, flow) in steps.iter().zip(flows) {
        assert_eq!(*step, format!("ok {flow}"), "{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colour where nobody looks");
}

#[test]
fn settings_that_are_wrong_stop_the_start_with_one_message_naming_each() {
    let output = Command::new(BINARY)
        .args(["serve", "--live"])
        .env_clear()
        .env("TWILIO_ACCOUNT_SID", "nonsense")
        .env("FLEXGATE_PUBLIC_URL", "http://gate.example")
        .env("FLEXGATE_ISSUERS", r#"[{"issuer":"https://idp.example","audiences":[]}]"#)
        .env("FLEXGATE_SESSION_SECONDS", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    for variable in [
        "TWILIO_ACCOUNT_SID",
        "TWILIO_INSTANCE_SID",
        "TWILIO_SECRET_ID",
        "COOKIE_KEYS_SECRET_ID",
        "FLEXGATE_PUBLIC_URL",
        "FLEXGATE_STORE",
        "FLEXGATE_SSO_PROFILES",
        "FLEXGATE_ISSUERS",
        "FLEXGATE_SESSION_SECONDS",
    ] {
        assert_eq!(said.matches(&format!("\n  {variable} ")).count(), 1, "{variable} in {said}");
    }
    assert!(!said.contains("nonsense"), "a value may be a secret in the wrong place");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_requests_finish_and_a_restart_still_knows_its_sessions() {
    let world = World::start().await;
    let mut process = Process::live(BINARY, &world);
    let mut browser = Browser::new(process.router());
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    let before = browser.call("/sso/token").await.body;

    world
        .fault(&json!({ "service": "flex-api", "path_contains": "Tokens/Info", "kind": "delay", "delay_ms": 1500 }))
        .await;
    let mut slow = browser.clone();
    let token = before["access_token"].clone();
    let under_way = tokio::spawn(async move {
        let request = Request::post("/sso/validate").header("content-type", "application/json");
        slow.send(request.body(json!({ "token": token }).to_string().into()).unwrap()).await
    });
    world.fault_met().await;
    process.terminate();
    assert_eq!(under_way.await.unwrap().status, 200, "what had begun was finished");
    assert!(tokio::task::spawn_blocking(move || process.ended(PATIENCE)).await.unwrap().success());

    let process = Process::live(BINARY, &world);
    let after = browser.at(process.router()).call("/sso/token").await;
    assert_eq!((after.status.as_u16(), &after.body["access_token"]), (200, &before["access_token"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_and_s30_hold_over_two_processes_on_one_store() {
    let world = World::start().await;
    let processes = [Process::live(BINARY, &world), Process::live(BINARY, &world)];
    let mut browser = Browser::new(processes[0].router());

    // Two tabs sign in through different processes. The tab that begins last finishes first.
    let first = browser.begin("/sso/default/login?return_to=/first").await;
    let mut browser = browser.at(processes[1].router());
    let second = browser.begin("/sso/default/login?return_to=/second").await;
    let first = browser.authenticate(&world, &first, Some("ada")).await;
    let second = browser.authenticate(&world, &second, Some("ada")).await;
    let mut browser = browser.at(processes[0].router());
    assert_eq!(browser.get(&second).await.header("location"), "/second");
    let mut browser = browser.at(processes[1].router());
    assert_eq!(browser.get(&first).await.header("location"), "/first");

    // The first token is valid for only four minutes, so the next request must refresh it. Then twenty requests arrive
    // together at the two processes. Only one of the requests may refresh the token.
    world.simulator.switch(|switches| switches.sso_token_ttl_seconds = 240);
    assert_eq!(browser.sign_in(&world, "ada").await.status, 303);
    world.simulator.switch(|switches| switches.sso_token_ttl_seconds = 3600);
    world
        .fault(&json!({ "service": "services", "path_contains": "OAuth/Tokens", "kind": "delay", "delay_ms": 300 }))
        .await;
    let calls = (0..20).map(|index| {
        let mut browser = browser.at(processes[index % 2].router());
        tokio::spawn(async move { browser.call("/sso/token").await })
    });
    let mut tokens = std::collections::BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        let reply = call.await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text);
        tokens.insert(reply.body["access_token"].as_str().unwrap().to_owned());
    }
    assert_eq!((tokens.len(), refreshes(&world).await), (1, 1));
}

#[test]
fn help_teaches() {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for word in ["serve", "demo", "--live", "Examples:", "docs/configuration.md"] {
        assert!(said.contains(word), "{word}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_with_what_to_do() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY)
        .args(["--port", &taken.local_addr().unwrap().port().to_string()])
        .args(["--simulator-port", &free_port().to_string(), "--tls-port", &free_port().to_string(), "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--port"));
}
