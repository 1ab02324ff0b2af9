//! Tests `flexgate users`, `token`, `completions` and `man` as an operator would run them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use flexgate_test_support::World;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");

fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(world.variables()).current_dir(world.folder());
    command.env("FLEXGATE_AUDIT_FILE", world.folder().join("audit.jsonl"));
    command
}

async fn run(world: &World, arguments: &[&str]) -> Output {
    let mut command = command(world, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn run_with(world: &World, arguments: &[&str], input: &str) -> Output {
    let mut command = command(world, arguments);
    let input = input.to_owned();
    let work = move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn people(count: usize) -> String {
    let mut csv = "username,email,full_name,roles\n".to_owned();
    for n in 0..count {
        writeln!(csv, "u{n},u{n}@example.com,\"Person, {n}\",agent;supervisor").unwrap();
    }
    csv
}

fn write(world: &World, name: &str, text: &str) {
    std::fs::write(world.folder().join(name), text).unwrap();
}

/// How often Twilio successfully provisioned each username.
async fn provisioned(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in world.journal("Provision").await {
        if entry["status"].as_u64().is_some_and(|status| status < 300) {
            let body: Value = serde_json::from_str(entry["body"].as_str().unwrap()).unwrap();
            *counts.entry(body["username"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_without_sending_a_finished_row_again() {
    const ROWS: usize = 300;
    let world = World::start().await;
    write(&world, "people.csv", &people(ROWS));
    world
        .fault(&json!({
            "service": "flex-api", "kind": "status", "status": 429, "times": "always", "probability": 0.1,
        }))
        .await;
    let mut child = command(&world, &["users", "import", "people.csv"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = world.folder().join("people.csv.journal");
    let noted = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count().saturating_sub(1));
    let began = tokio::time::Instant::now();
    while noted() < ROWS / 3 {
        assert!(began.elapsed() < Duration::from_mins(1) && child.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let noted = noted();
    assert!(noted < ROWS, "killed in the middle");
    let seen_before = world.journal("Users").await.len();

    let output = run(&world, &["users", "import", "people.csv"]).await;
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
    assert!(out(&output).contains(&format!("0 failed, {noted} finished before")), "{}", out(&output));
    assert!(err(&output).contains(&format!("{ROWS} of {ROWS} rows")), "plain lines: {}", err(&output));
    assert!(!err(&output).contains(['\u{1b}', '\r']), "no bar where nobody looks");

    let counts = provisioned(&world).await;
    assert_eq!((counts.len(), counts.values().max()), (ROWS, Some(&1)));
    let asked: std::collections::BTreeSet<_> = world.journal("Users").await[seen_before..]
        .iter()
        .filter_map(|entry| entry["query"]["Username"].as_str().map(str::to_owned))
        .collect();
    assert!(asked.len() <= ROWS - noted, "a finished row was not even looked up");
    assert!(!journal.exists(), "everything is finished: the next import begins anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_mistakes_is_refused_whole_with_each_row() {
    let world = World::start().await;
    let csv = "email,username,roles,full_name\n\
        ada@example.com,ada,agent,Ada\n\
        nowhere,bob,agent,Bob\n\
        eve@example.com,eve,admin,Eve\n\
        ada2@example.com,ada,agent,Ada Two\n\
        x@example.com,x,pilot,X\n\
        short\n";
    write(&world, "people.csv", csv);
    let output = run(&world, &["users", "import", "people.csv"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = err(&output);
    for part in [
        "line 3: email: must be",
        "line 4: roles: admin is not among FLEXGATE_ALLOWED_ROLES",
        "line 5: username: the same as in line 2",
        "line 6: roles: must be",
        "line 7: it has 1 fields, the header 4",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(world.journal("").await.is_empty(), "nothing was sent");

    write(&world, "header.csv", "username,address,full_name,roles\n");
    let said = err(&run(&world, &["users", "import", "header.csv"]).await);
    assert!(said.contains("line 1: the column email is missing") && said.contains("column 2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_fail_are_written_to_a_file_that_can_be_imported() {
    let world = World::start().await;
    write(&world, "people.csv", &people(5));
    world
        .fault(&json!({ "service": "flex-api", "path_contains": "Provision", "kind": "status", "status": 400, "times": 2 }))
        .await;
    let output = run(&world, &["users", "import", "people.csv"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(out(&output).starts_with("3 created, 0 updated, 0 unchanged, 2 failed"), "{}", out(&output));
    let failed = std::fs::read_to_string(world.folder().join("people.csv.failed.csv")).unwrap();
    assert!(failed.starts_with("username,email,full_name,roles,error\n"), "{failed}");
    assert!(failed.lines().count() == 3 && failed.contains("status 400"), "{failed}");

    let output = run(&world, &["users", "import", "people.csv.failed.csv"]).await;
    assert!(output.status.success() && out(&output).starts_with("2 created"), "{}{}", out(&output), err(&output));
    assert_eq!(provisioned(&world).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_rejected_stops_the_import_at_once() {
    let world = World::start().await;
    write(&world, "people.csv", &people(50));
    world.control("credentials", &json!({})).await;
    let output = run(&world, &["users", "import", "people.csv"]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = err(&output);
    assert!(said.contains("does not accept") && said.contains("goes on where this stopped"), "{said}");
    assert!(world.journal("Users").await.len() < 40, "not every row is tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_provisioned_shown_listed_exported_and_deprovisioned() {
    let world = World::start().await;
    let ada = ["--username", "ada", "--email", "ada@example.com", "--full-name", "Ada Lovelace", "--role", "agent"];
    let provision = [&["users", "provision"], ada.as_slice()].concat();
    assert!(out(&run(&world, &provision).await).starts_with("created FU"));
    assert!(out(&run(&world, &provision).await).starts_with("unchanged FU"));
    let shown: Value = serde_json::from_str(&out(&run(&world, &["users", "show", "ada"]).await)).unwrap();
    assert_eq!((&shown["username"], &shown["roles"]), (&json!("ada"), &json!(["agent"])));
    let listed = out(&run(&world, &["users", "list"]).await);
    assert!(listed.contains(shown["flex_user_sid"].as_str().unwrap()) && listed.contains("active"), "{listed}");
    let exported = out(&run(&world, &["users", "export"]).await);
    assert_eq!(exported, "username,email,full_name,roles\nada,ada@example.com,Ada Lovelace,agent\n");

    let forbidden = [&["users", "provision"], &ada[..6], &["--role", "admin"]].concat();
    let output = run(&world, &forbidden).await;
    assert!(!output.status.success() && err(&output).contains("FLEXGATE_ALLOWED_ROLES"), "{}", err(&output));

    assert!(run(&world, &["users", "deprovision", "ada"]).await.status.success());
    assert!(out(&run(&world, &["users", "list"]).await).contains("deactivated"));
    assert_eq!(out(&run(&world, &["users", "export"]).await), "username,email,full_name,roles\n");
    let output = run(&world, &["token", "mint", "--user", "ada"]).await;
    assert!(!output.status.success() && err(&output).contains("deactivated"), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_minted_alone_on_standard_output_and_checked() {
    let world = World::start().await;
    let ada = ["--username", "ada", "--email", "ada@example.com", "--full-name", "Ada Lovelace", "--role", "agent"];
    assert!(run(&world, &[&["users", "provision"], ada.as_slice()].concat()).await.status.success());
    let output = run(&world, &["token", "mint", "--user", "ada", "--ttl", "600"]).await;
    assert!(output.status.success(), "{}", err(&output));
    let token = out(&output);
    assert_eq!((token.lines().count(), token.trim().split('.').count()), (1, 5));
    assert!(err(&output).contains("ada, roles agent") && !err(&output).contains(token.trim()));

    let checked = run_with(&world, &["token", "check"], &token).await;
    assert!(checked.status.success() && out(&checked).starts_with("good: ada"), "{}", err(&checked));
    let claims: Value = serde_json::from_str(&out(&run_with(&world, &["token", "claims"], &token).await)).unwrap();
    assert_eq!((&claims["username"], &claims["roles"]), (&json!("ada"), &json!(["agent"])));
    let forged = run_with(&world, &["token", "check"], "a.b.c").await;
    assert!(forged.status.code() == Some(1) && out(&forged).starts_with("not good:"), "{}", err(&forged));
    let long = run(&world, &["token", "mint", "--user", "ada", "--ttl", "90000"]).await;
    assert!(!long.status.success() && err(&long).contains("FLEXGATE_MAX_TTL_SECONDS"), "{}", err(&long));
}

/// The audit events so far: action, decision, user and reason.
fn audited(world: &World) -> Vec<(String, String, String, String)> {
    let text = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap_or_default();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&event["target"], &event["issuer"]), (&json!("flexgate::audit"), &json!("operator")), "{event}");
        assert!(event["subject"].as_str().is_some_and(|subject| !subject.is_empty()), "{event}");
        assert!(event["request_id"].as_str().is_some_and(|id| id.len() == 32), "{event}");
        let of = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (of("action"), of("decision"), of("flex_user_sid"), of("reason"))
    };
    text.lines().map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_does_is_in_the_audit_trail() {
    let world = World::start().await;
    let ada = ["--username", "ada", "--email", "ada@example.com", "--full-name", "Ada Lovelace", "--role"];
    assert!(run(&world, &[&["users", "provision"], ada.as_slice(), &["agent"]].concat()).await.status.success());
    assert!(!run(&world, &[&["users", "provision"], ada.as_slice(), &["admin"]].concat()).await.status.success());
    let shown: Value = serde_json::from_str(&out(&run(&world, &["users", "show", "ada"]).await)).unwrap();
    let token = out(&run(&world, &["token", "mint", "--user", "ada", "--ttl", "600"]).await);
    assert!(run(&world, &["users", "export"]).await.status.success());
    assert!(run(&world, &["users", "deprovision", "ada"]).await.status.success());
    assert!(!run(&world, &["token", "mint", "--user", "ada"]).await.status.success());
    write(&world, "people.csv", &people(2));
    assert!(run(&world, &["users", "import", "people.csv"]).await.status.success());
    assert!(run(&world, &["scim", "token", "--id", "okta"]).await.status.success());

    let sid = shown["flex_user_sid"].as_str().unwrap();
    let audited = audited(&world);
    let told = audited
        .iter()
        .map(|(action, decision, user, reason)| (action.as_str(), decision.as_str(), user == sid, reason.as_str()));
    let expected = [
        ("provision", "allowed", true, "created"),
        ("provision", "refused", false, "role_forbidden"),
        ("mint", "allowed", true, "600 s"),
        ("export_users", "allowed", false, "1 users"),
        ("deprovision", "allowed", true, "deprovisioned"),
        ("mint", "refused", true, "the user is deactivated, or Twilio does not say"),
        ("provision", "allowed", false, "created"),
        ("provision", "allowed", false, "created"),
        ("make_scim_token", "allowed", false, "okta"),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let text = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    assert!(!text.contains("ada@example.com") && !text.contains(token.trim()), "no e-mail address, no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_done() {
    let world = World::start().await;
    let ada = ["--username", "ada", "--email", "ada@example.com", "--full-name", "Ada", "--role", "agent"];
    let mut command = command(&world, &[&["users", "provision"], ada.as_slice()].concat());
    command.env("FLEXGATE_AUDIT_FILE", world.folder());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(!output.status.success() && err(&output).contains("FLEXGATE_AUDIT_FILE"), "{}", err(&output));
    assert!(world.journal("").await.is_empty(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_name_is_no_formula_and_comes_back_as_it_was() {
    let world = World::start().await;
    let names = ["=HYPERLINK(\"https://evil.example\")", "+1", "-1", "@SUM(A1)", "'=quoted", "O'Hara", "plain"];
    for (number, name) in names.iter().enumerate() {
        let (username, email) = (format!("={number}"), format!("+{number}@example.com"));
        let user = ["users", "provision", "--role", "agent"];
        let given = [format!("--username={username}"), format!("--email={email}"), format!("--full-name={name}")];
        let arguments: Vec<&str> = user.into_iter().chain(given.iter().map(String::as_str)).collect();
        let output = run(&world, &arguments).await;
        assert!(output.status.success(), "{}", err(&output));
    }
    assert!(run(&world, &["users", "export", "--output", "people.csv"]).await.status.success());
    let exported = std::fs::read_to_string(world.folder().join("people.csv")).unwrap();
    for cell in exported.lines().skip(1).flat_map(|line| line.split(',')) {
        assert!(!cell.trim_matches('"').starts_with(['=', '+', '-', '@']), "{cell} in {exported}");
    }
    assert!(exported.contains("'=0,'+0@example.com,") && exported.contains(",''=quoted,"), "{exported}");
    let output = run(&world, &["users", "import", "people.csv"]).await;
    let said = out(&output);
    assert!(said.starts_with(&format!("0 created, 0 updated, {} unchanged", names.len())), "{said}{}", err(&output));
}

#[test]
fn completions_and_the_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = out(&Command::new(BINARY).args(["completions", shell]).output().unwrap());
        assert!(["doctor", "users", "token"].iter().all(|word| script.contains(word)), "{shell}");
    }
    let page = out(&Command::new(BINARY).arg("man").output().unwrap());
    assert!(page.contains(".TH") && page.contains("doctor"), "{page}");
    let page = out(&Command::new(BINARY).args(["man", "users", "import"]).output().unwrap());
    assert!(page.contains("dry\\-run") && page.contains("Examples"), "{page}");
    let help = out(&Command::new(BINARY).args(["users", "import", "--help"]).output().unwrap());
    assert!(help.contains("username,email,full_name,roles") && help.contains("Examples:"), "{help}");
}
