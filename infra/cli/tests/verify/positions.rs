//! Tests that `flexgate verify` recognises every known answer to every question, and that the simulator can load the
//! recorded answers.

use std::process::Stdio;
use std::time::Duration;

use flexgate_simulator::{Config, Position, QUESTIONS, Question, Switches};
use flexgate_test_support::{Process, World, free_port};
use serde_json::{Map, Value, json};

use super::{BINARY, active, answer, err, out, report, verify};

fn asked() -> impl Iterator<Item = &'static Question> {
    QUESTIONS.iter().filter(|question| question.by_hand.is_none())
}

async fn set(world: &World, switches: &Value) {
    let defaults = serde_json::to_value(Switches::default()).unwrap();
    world.switch(&defaults).await;
    world.switch(switches).await;
}

fn recorded(world: &World) -> Value {
    serde_json::from_str(&std::fs::read_to_string(world.folder().join("switches.json")).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_position_of_every_switch_is_named_and_recorded() {
    let world = World::start().await;
    let mut runs = 0;
    for question in asked() {
        for value in question.positions.iter().map(Position::value) {
            let switch = question.switch;
            set(&world, &json!({ switch: value })).await;
            let output = verify(&world, &["--record", "switches.json"]).await;
            let said = out(&output);
            assert!(said.contains(&format!("{} ({switch})", question.asks)), "{switch}: {said}{}", err(&output));
            assert!(said.contains(&format!(": {switch} = {value}. ")), "{switch} = {value}: {said}{}", err(&output));
            assert_eq!(recorded(&world)[switch], value, "{said}");
            // If `sparse_responses` is true, the simulated Twilio omits the user's version. So `verify` gets no answer
            // to one question about versions, and fails.
            let is_open = switch == "sparse_responses" && value == true;
            assert_eq!(output.status.code(), Some(i32::from(is_open)), "{switch} = {value}: {said}{}", err(&output));
            runs += 1;
        }
    }
    assert!(runs > 2 * 17, "{runs}");
    assert_eq!(active(&world).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulator_with_the_recorded_switches_answers_as_the_recorded_one() {
    let world = World::start().await;
    // Set every switch except `sparse_responses` to a value other than its default. If `sparse_responses` were true,
    // `verify` could not find out the value of one other switch.
    let other = |question: &Question| (question.switch.to_owned(), question.positions.last().unwrap().value());
    let mut switches: Map<_, _> = asked().map(other).collect();
    switches.remove("sparse_responses");
    set(&world, &Value::Object(switches.clone())).await;
    let output = verify(&world, &["--record", "switches.json"]).await;
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    switches.insert("sparse_responses".to_owned(), false.into());
    assert_eq!(recorded(&world), Value::Object(switches.clone()));

    let loaded: Switches = serde_json::from_value(recorded(&world)).unwrap();
    let second = World::over(Config { switches: loaded, ..Config::default() }).await;
    let output = verify(&second, &["--record", "switches.json"]).await;
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    assert_eq!(recorded(&second), recorded(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_loads_the_recorded_switches_and_refuses_other_files() {
    let world = World::start().await;
    set(&world, &json!({ "mint_status": 200, "provision_reactivates": "new_sid" })).await;
    assert!(verify(&world, &["--record", "switches.json"]).await.status.success());
    let ports: Vec<String> = (0..3).map(|_| free_port().to_string()).collect();
    let serve = || {
        let mut command = std::process::Command::new(BINARY);
        command.env_clear().current_dir(world.folder()).arg("serve");
        command.args(["--port", &ports[0], "--simulator-port", &ports[1], "--tls-port", &ports[2]]);
        command
    };
    let mut command = serve();
    command.args(["--switches", "switches.json"]);
    let process = Process::spawn(command, ports[1].parse().unwrap());
    let _said = process.wait_for("Stop with Ctrl-C", Duration::from_mins(1));
    let url = format!("http://localhost:{}/__sim/switches", ports[1]);
    let shown = world.exchange(reqwest::Request::new(http::Method::GET, url.parse().unwrap())).await;
    let shown: Value = serde_json::from_slice(&shown.body).unwrap();
    assert_eq!((&shown["mint_status"], &shown["provision_reactivates"]), (&json!(200), &json!("new_sid")));
    drop(process);

    std::fs::write(world.folder().join("wrong.json"), r#"{"mint_status": 999}"#).unwrap();
    let mut command = serve();
    command.args(["--switches", "wrong.json"]).stdin(Stdio::null());
    let output = super::output(command).await;
    let said = err(&output);
    assert!(said.contains("mint_status must be one of 201, 200") && said.contains("docs/verify.md"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_has_every_question_and_no_secret() {
    let world = World::start().await;
    let (code, report) = report(&world).await;
    assert_eq!((code, &report["good"], &report["simulator"]), (Some(0), &json!(true), &json!(true)), "{report:#}");
    for question in asked() {
        let answer = answer(&report, question.switch);
        assert_eq!(answer["verdict"], "expected", "{answer:#}");
        assert_eq!(answer["documented"], question.documented);
        assert_eq!(answer["means"], question.positions[0].means);
    }
    let by_hand: Vec<_> = QUESTIONS.iter().filter_map(|one| Some(json!([one.switch, one.by_hand?]))).collect();
    let not_asked = report["not_asked"].as_array().unwrap().iter();
    assert_eq!(not_asked.map(|one| json!([one["switch"], one["by_hand"]])).collect::<Vec<_>>(), by_hand);
    let contract = report["contract"].as_array().unwrap();
    assert!(contract.len() > 12 && contract.iter().all(|step| step["verdict"] == "expected"), "{report:#}");

    let output = verify(&world, &["--record", "switches.json"]).await;
    let account = world.simulator.account();
    let audit = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    for text in [report.to_string(), out(&output), err(&output), recorded(&world).to_string(), audit.clone()] {
        for secret in ["eyJ", "@example.com", &account.auth_token, &account.account_sid] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let count = |action: &str| audit.matches(&format!("\"action\":\"{action}\"")).count();
    assert!(count("provision") >= 6 && count("deprovision") >= 6, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unforeseen_answer_is_named_and_not_recorded() {
    let world = World::start().await;
    world
        .fault(&json!({ "service": "iam", "kind": "status", "status": 418, "body": { "valid": false, "code": 20101 } }))
        .await;
    let output = verify(&world, &["--record", "switches.json"]).await;
    let said = out(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("observed    status 418, code 20101, valid: false\n  verdict     UNKNOWN ANSWER"), "{said}");
    assert!(recorded(&world)["mint_status"] == 201 && recorded(&world).get("iam_invalid_status").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_names_every_question() {
    let help = std::process::Command::new(BINARY).args(["verify", "--help"]).output().unwrap();
    let help = out(&help);
    for question in QUESTIONS {
        assert!(help.contains(question.switch), "{} in {help}", question.switch);
    }
    assert!(help.contains("--record") && help.contains("Examples:"), "{help}");
}
