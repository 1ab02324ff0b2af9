//! Tests that `flexgate verify` changes only the user that it has created, and deactivates this user whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use flexgate_test_support::World;
use http::Method;
use serde_json::{Value, json};

use super::{PREFIX, active, command, err, out, verify};

/// All users except verify's.
async fn others(world: &World) -> Vec<Value> {
    let users = world.twilio_users().await.into_iter();
    users.filter(|user| !user["username"].as_str().unwrap().starts_with(PREFIX)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_touched_and_never_two_users_are_active() {
    let world = World::start().await;
    world.at_twilio("ada", &["agent", "supervisor"]).await;
    let gone = world.at_twilio("grace", &["agent"]).await;
    world.deprovision_at_twilio(&gone).await;
    world.at_twilio(PREFIX, &["admin"]).await;
    let before = world.twilio_users().await;
    let output = verify(&world, &[]).await;
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    let after = world.twilio_users().await;
    for user in &before {
        assert!(after.contains(user), "{user} changed");
    }
    let own: Vec<_> = after.iter().filter(|user| !before.contains(user)).collect();
    let lengths: BTreeSet<_> = own.iter().map(|user| user["username"].as_str().unwrap().len()).collect();
    assert_eq!((own.len(), lengths), (2, BTreeSet::from([PREFIX.len() + 16, 65])), "{own:#?}");
    assert!(own.iter().all(|user| user["deactivated"] == true && user["roles"] == json!(["agent"])), "{own:#?}");

    let sids: BTreeMap<_, _> =
        own.iter().map(|user| (user["flex_user_sid"].to_string(), user["username"].to_string())).collect();
    let mut live = BTreeSet::new();
    for call in world.journal("rovision").await.iter().skip(4) {
        let body: Value = serde_json::from_str(call["body"].as_str().unwrap()).unwrap();
        if call["path"].as_str().unwrap().ends_with("/Provision") {
            live.insert(body["username"].to_string());
        } else {
            live.remove(&sids[&body["flex_user_sid"].to_string()]);
        }
        assert!(live.len() <= 1, "{live:?}");
    }
    assert!(live.is_empty(), "{live:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_somebody_else_touches_nobody() {
    for number in [0, 1, 2, 3] {
        let world = World::start().await;
        let ada = world.at_twilio("ada", &["agent"]).await;
        let before = others(&world).await;
        // `flexgate verify` sends four provisioning requests. In each round, the simulator does not process one of
        // these requests, and its answer describes another user, ada.
        let path = json!({ "service": "flex-api", "path_contains": "/Provision" });
        if number > 0 {
            let right = json!({ "kind": "delay", "delay_ms": 0, "times": number });
            world.fault(&merged(&path, &right)).await;
        }
        let body = json!({ "flex_user_sid": ada, "username": "ada", "roles": ["agent"], "deactivated": false });
        world.fault(&merged(&path, &json!({ "kind": "status", "status": 201, "body": body }))).await;
        let output = verify(&world, &[]).await;
        let said = format!("{}{}", out(&output), err(&output));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(others(&world).await, before, "{number}: {said}");
        assert_eq!(active(&world).await, Vec::<String>::new(), "{number}: {said}");
        let deprovisioned = world.journal("/Deprovision").await;
        assert!(deprovisioned.iter().all(|call| !call["body"].as_str().unwrap().contains(&ada)), "{said}");
    }
}

fn merged(one: &Value, other: &Value) -> Value {
    let members = [one, other].into_iter().flat_map(|value| value.as_object().unwrap().clone());
    Value::Object(members.collect())
}

/// A running `flexgate verify` that waits for Twilio's answers to its requests for tokens.
struct Running {
    child: Child,
}

impl Running {
    /// Starts verify, and waits until verify has made its user and has sent its first request for a token.
    async fn start(world: &World) -> Self {
        let slow =
            json!({ "service": "flex-api", "path_contains": "/Tokens", "kind": "delay", "delay_ms": 300, "times": 0 });
        world.fault(&slow).await;
        let mut command = command(world, &[]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let patience = async {
            while world.journal("/Tokens").await.iter().all(|call| call["service"] != "flex-api") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), patience).await.unwrap();
        Self { child }
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    /// Waits for a line on standard error.
    fn wait_for(&mut self, text: &str) {
        let mut lines = BufReader::new(self.child.stderr.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "no line with {text}");
        }
    }

    async fn end(mut self) -> (Option<i32>, String) {
        let work = move || {
            let mut rest = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
            (self.child.wait().unwrap().code(), rest)
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_run_and_the_user_is_deactivated() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let world = World::start().await;
        let running = Running::start(&world).await;
        assert_eq!(active(&world).await.len(), 1);
        running.signal(signal);
        let (code, said) = running.end().await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("Stopping") && said.contains("was stopped"), "{said}");
        assert_eq!(active(&world).await, Vec::<String>::new(), "{signal}: {said}");
        let users = world.twilio_users().await;
        assert!(users.iter().any(|user| user["deactivated"] == true), "{users:?}");
        assert_eq!(users.len(), 1, "the second user was not made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_names_the_user_that_is_left() {
    let world = World::start().await;
    let mut running = Running::start(&world).await;
    world.fault(&json!({ "service": "flex-api", "path_contains": "/Deprovision", "kind": "reset", "times": 0 })).await;
    running.signal("-INT");
    running.wait_for("Stopping");
    running.signal("-INT");
    let (code, said) = running.end().await;
    let [left] = active(&world).await.try_into().unwrap();
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("flexgate users deprovision {left}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_cannot_be_deactivated_is_named() {
    let world = World::start().await;
    let broken =
        json!({ "service": "flex-api", "path_contains": "/Deprovision", "kind": "status", "status": 503, "times": 0 });
    world.fault(&broken).await;
    let output = verify(&world, &["--json"]).await;
    let [left] = active(&world).await.try_into().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains(&format!("flexgate users deprovision {left}")), "{}", err(&output));
    let report: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&report["left_behind"], &report["good"]), (&json!([left]), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_nobody_reads_is_a_failure_and_the_user_is_deactivated() {
    for (arguments, made) in [(&["--json"][..], 2), (&[], 0)] {
        let world = World::start().await;
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command(&world, arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let (code, said) = Running { child }.end().await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("the report cannot be written"), "{said}");
        assert_eq!((world.twilio_users().await.len(), active(&world).await), (made, Vec::new()), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_answer_was_lost_is_found_and_deactivated() {
    for (kind, made) in [("lost_response", 1), ("reset", 0)] {
        for sparse in [false, true] {
            let world = World::start().await;
            world.switch(&json!({ "sparse_responses": sparse })).await;
            world.fault(&json!({ "service": "flex-api", "path_contains": "/Provision", "kind": kind })).await;
            let output = verify(&world, &[]).await;
            let said = format!("{}{}", out(&output), err(&output));
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("the connection broke before Twilio's answer was complete"), "{said}");
            let users = world.twilio_users().await;
            assert_eq!((users.len(), active(&world).await.len()), (made, 0), "{kind} {users:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sid_whose_answer_was_lost_is_deactivated_too() {
    let world = World::start().await;
    world.switch(&json!({ "provision_reactivates": "new_sid" })).await;
    // With its third provisioning request, verify provisions the deprovisioned user again. The answer to this request
    // must be lost. The first fault (a delay of zero) uses up the first two requests without any effect, so the second
    // fault loses the third answer.
    let second =
        json!({ "service": "flex-api", "path_contains": "/Provision", "kind": "delay", "delay_ms": 0, "times": 2 });
    world.fault(&second).await;
    world.fault(&json!({ "service": "flex-api", "path_contains": "/Provision", "kind": "lost_response" })).await;
    let output = verify(&world, &[]).await;
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let users = others(&world).await;
    assert_eq!((users.len(), active(&world).await), (0, Vec::new()));
    assert_eq!(world.twilio_users().await.len(), 3, "two SIDs of the first user, and the second user");
    assert_eq!(world.ask(Method::GET, "/__sim/faults", &Value::Null).await["faults"][1]["hits"], 1);
}
