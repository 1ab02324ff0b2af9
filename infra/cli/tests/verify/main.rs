//! Tests `flexgate verify` against the simulator, as an operator would run it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod clean_up;
mod page;
mod positions;
mod refusals;

use std::process::{Command, Output};

use flexgate_test_support::World;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const PREFIX: &str = "flexgate-verify-";

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("verify").args(arguments).env_clear().envs(world.variables()).current_dir(world.folder());
    command.env("FLEXGATE_AUDIT_FILE", world.folder().join("audit.jsonl"));
    command
}

async fn verify(world: &World, arguments: &[&str]) -> Output {
    output(command(world, arguments)).await
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs verify with `--json`. Returns the exit code and the report.
async fn report(world: &World) -> (Option<i32>, Value) {
    let output = verify(world, &["--json"]).await;
    (output.status.code(), serde_json::from_str(&out(&output)).unwrap())
}

/// Returns the report's answer to the question about this switch of the simulator.
fn answer(report: &Value, switch: &str) -> Value {
    let questions = report["questions"].as_array().unwrap();
    let mut about = questions.iter().filter(|line| line["switch"] == switch);
    let answer = about.next().unwrap_or(&Value::Null).clone();
    assert!(about.next().is_none(), "{switch} was asked twice");
    answer
}

/// Returns the usernames of the active users at Twilio that `flexgate verify` has created.
async fn active(world: &World) -> Vec<String> {
    let users = world.twilio_users().await.into_iter();
    let users = users.filter(|user| user["deactivated"] != true);
    let names = users.map(|user| user["username"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}
