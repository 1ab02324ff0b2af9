//! Tests mistakes of operators and newcomers. Each error message must contain advice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use flexgate_test_support::World;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");

/// Returns a command for `flexgate` whose environment contains only these variables.
fn flexgate(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder);
    command
}

fn operator(world: &World, arguments: &[&str]) -> Command {
    let mut command = flexgate(world.folder(), arguments, &[]);
    command.envs(world.variables()).env("FLEXGATE_AUDIT_FILE", world.folder().join("audit.jsonl"));
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A port that is free now.
fn port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Returns a command for `flexgate` with a simulated Twilio, on free ports and with its state in `folder`.
fn serve(folder: &Path, more: &[&str]) -> Command {
    let ports: Vec<String> = (0..3).map(|_| port().to_string()).collect();
    let mut arguments = Vec::new();
    for (flag, port) in ["--port", "--simulator-port", "--tls-port"].into_iter().zip(&ports) {
        if !more.contains(&flag) {
            arguments.extend([flag, port]);
        }
    }
    arguments.extend(more);
    flexgate(folder, &arguments, &[])
}

/// A child process that is killed when the value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Running {
    /// Starts the process. Waits until it prints that it is running.
    fn serving(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("Flexgate is running") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "it does not start");
        }
        // Keep reading from the pipe. A closed pipe would stop the process at its next write.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Self(child)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r81_a_second_flexgate_in_the_same_folder_is_refused_and_the_first_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = Running::serving(serve(folder.path(), &[]));
    let environment = std::fs::read(folder.path().join(".flexgate/environment")).unwrap();
    let second = output(serve(folder.path(), &[])).await;
    assert_eq!(second.status.code(), Some(1));
    let said = err(&second);
    assert!(said.contains(&format!("process {}", first.0.id())) && said.contains("--data-dir"), "{said}");
    assert_eq!(std::fs::read(folder.path().join(".flexgate/environment")).unwrap(), environment);
    // A second process can run with another folder. When a process has ended, another one can use its folder.
    drop(Running::serving(serve(folder.path(), &["--data-dir", "other"])));
    drop(first);
    drop(Running::serving(serve(folder.path(), &[])));
}

#[tokio::test(flavor = "multi_thread")]
async fn r82_an_export_that_fails_leaves_no_file_and_one_that_would_overwrite_names_it() {
    let world = World::start().await;
    let mut broken = operator(&world, &["users", "export", "--output", "e.csv"]);
    broken.env("FLEXGATE_TWILIO_URL", "http://127.0.0.1:1");
    assert_eq!(output(broken).await.status.code(), Some(1));
    let left: Vec<_> = std::fs::read_dir(world.folder()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(
        !left.iter().any(|name| name.to_str().is_some_and(|name| name.contains("csv") || name.starts_with(".tmp"))),
        "{left:?}"
    );
    let export = || operator(&world, &["users", "export", "--output", "e.csv"]);
    assert!(output(export()).await.status.success());
    let again = output(export()).await;
    assert!(again.status.code() == Some(1) && err(&again).contains("e.csv exists already"), "{}", err(&again));
    let nowhere = output(operator(&world, &["users", "export", "--output", "missing/e.csv"])).await;
    assert!(err(&nowhere).contains("cannot write missing/e.csv"), "{}", err(&nowhere));
}

#[tokio::test(flavor = "multi_thread")]
async fn r83_a_mistake_is_named_by_the_line_of_the_file() {
    let world = World::start().await;
    let csv = "username,email,full_name,roles\n\n\nada,ada@example.com,\"Ada\nLovelace\",agent\nlinus,no address,Linus,agent\n";
    std::fs::write(world.folder().join("people.csv"), csv).unwrap();
    let said = err(&output(operator(&world, &["users", "import", "people.csv", "--dry-run"])).await);
    // The name contains a line break, so the row that begins on line 4 ends on line 5. A line break in a name is a
    // mistake too.
    assert!(said.contains("line 6: email") && said.contains("line 4: full_name"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r84_what_was_exported_can_be_imported_though_two_usernames_differ_only_in_case() {
    let world = World::start().await;
    for (username, roles) in [("Grace", &["supervisor"][..]), ("grace", &["agent"]), ("ada", &["agent"])] {
        world.at_twilio(username, roles).await;
    }
    let before = world.twilio_users().await;
    assert!(output(operator(&world, &["users", "export", "--output", "e.csv"])).await.status.success());
    world.forget_calls().await;
    let imported = output(operator(&world, &["users", "import", "e.csv"])).await;
    assert!(imported.status.success(), "{}", err(&imported));
    assert!(err(&imported).contains("differ only in spelling"), "{}", err(&imported));
    assert!(out(&imported).contains("0 created, 0 updated, 3 unchanged, 0 failed"), "{}", out(&imported));
    assert!(world.calls("flex-api").await.iter().all(|call| !call.contains("rovision")));
    // Change the row of `Grace`, so that it differs from Flex. The import must refuse this row, because sending the row
    // could change the user `grace`.
    let csv = std::fs::read_to_string(world.folder().join("e.csv")).unwrap();
    std::fs::write(world.folder().join("f.csv"), csv.replace("Grace Example", "Grace Hopper")).unwrap();
    let refused = output(operator(&world, &["users", "import", "f.csv"])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(out(&refused).contains("0 updated, 2 unchanged, 1 failed"), "{}", out(&refused));
    let failed = std::fs::read_to_string(world.folder().join("f.csv.failed.csv")).unwrap();
    assert!(failed.contains("another spelling") && failed.contains("Flex console"), "{failed}");
    // The file of failed rows contains both spellings, so an import of that file sends neither row.
    let again = output(operator(&world, &["users", "import", "f.csv.failed.csv"])).await;
    assert!(out(&again).contains("0 updated, 1 unchanged, 1 failed"), "{}", out(&again));
    let key = |user: &Value| (user["username"].clone(), user["full_name"].clone(), user["roles"].clone());
    let (before, after) = (before.iter().map(key), world.twilio_users().await);
    assert_eq!(before.collect::<Vec<_>>(), after.iter().map(key).collect::<Vec<_>>());
    // The journal does not contain rows that the import only compared with Flex. So the second import below compares
    // them again.
    std::fs::write(world.folder().join("h.csv"), format!("{csv}linus,linus@example.com,Linus,admin\n")).unwrap();
    let allowed = |mut command: Command| {
        command.env("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin");
        command
    };
    world.fault(&json!({ "service": "flex-api", "path_contains": "Provision", "kind": "status", "status": 400 })).await;
    let stopped = output(allowed(operator(&world, &["users", "import", "h.csv"]))).await;
    assert!(out(&stopped).contains("3 unchanged, 1 failed"), "{}", out(&stopped));
    let again = output(allowed(operator(&world, &["users", "import", "h.csv"]))).await;
    assert!(out(&again).contains("1 created, 0 updated, 2 unchanged, 0 failed, 1 finished before"), "{}", out(&again));
    // The same username twice in the same spelling is a mistake.
    std::fs::write(world.folder().join("g.csv"), format!("{csv}grace,grace@example.com,Grace,agent\n")).unwrap();
    let twice = output(operator(&world, &["users", "import", "g.csv"])).await;
    assert!(err(&twice).contains("the same as in line"), "{}", err(&twice));
}

#[tokio::test(flavor = "multi_thread")]
async fn r85_a_port_that_is_taken_is_named_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let number = taken.local_addr().unwrap().port().to_string();
    for option in ["--port", "--simulator-port", "--tls-port"] {
        let refused = output(serve(folder.path(), &[option, &number])).await;
        let said = err(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!(":{number}")) && said.trim_end().ends_with(option), "{option}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r87_an_option_of_serve_before_another_command_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = output(flexgate(folder.path(), &["--port", "9999", "doctor"], &[])).await;
    let said = err(&refused);
    assert!(refused.status.code() == Some(2) && said.contains("--port"), "{said}");
    assert!(said.contains(".flexgate/environment"), "{said}");
    let refused = output(flexgate(folder.path(), &["--live", "serve"], &[])).await;
    assert!(err(&refused).contains("flexgate serve --live"), "{}", err(&refused));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn r88_state_that_cannot_be_written_is_named_with_what_to_do() {
    // Put a file where the command needs a folder. An unwritable folder would not be enough, because the test may run
    // as root, who can write to every folder.
    for (file, named) in
        [(".flexgate", ".flexgate"), (".flexgate/secrets", "secrets"), (".flexgate/simulator", "simulator")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "in the way").unwrap();
        let refused = output(serve(folder.path(), &[])).await;
        let said = err(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(named) && said.contains("--data-dir"), "{file}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r89_an_export_into_a_closed_pipe_is_quiet() {
    let world = World::start().await;
    world.control("users", &json!({ "count": 3_000 })).await;
    let mut command = operator(&world, &["users", "export"]);
    let work = move || {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 8]).unwrap();
        drop(stdout);
        child.wait_with_output().unwrap()
    };
    let ended = tokio::task::spawn_blocking(work).await.unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", err(&ended));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn r89_an_import_that_is_told_to_stop_says_what_it_did() {
    let world = World::start().await;
    let mut csv = "username,email,full_name,roles\n".to_owned();
    for n in 0..400 {
        writeln!(csv, "u{n},u{n}@example.com,Person {n},agent").unwrap();
    }
    std::fs::write(world.folder().join("people.csv"), csv).unwrap();
    for signal in ["TERM", "HUP"] {
        let mut command = operator(&world, &["users", "import", "people.csv", "--concurrency", "1"]);
        let journal = world.folder().join("people.csv.journal");
        let before = std::fs::read_to_string(&journal).map_or(1, |text| text.lines().count());
        let work = move || {
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut patience = 12_000;
            while std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count()) < before + 3 {
                patience -= 1;
                assert!(patience > 0, "the import does not begin");
                std::thread::sleep(Duration::from_millis(5));
            }
            let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
            assert!(ExitStatus::success(&kill));
            child.wait_with_output().unwrap()
        };
        let ended = tokio::task::spawn_blocking(work).await.unwrap();
        assert_eq!(ended.status.code(), Some(1), "{signal}: {}", err(&ended));
        assert!(out(&ended).contains(" created, ") && err(&ended).contains("interrupted"), "{signal}: {}", err(&ended));
    }
}

async fn examine(world: &World, changed: &[(&str, &str)]) -> Vec<Value> {
    let mut command = operator(world, &["doctor", "--json"]);
    command.envs(changed.iter().copied());
    let report: Value = serde_json::from_str(&out(&output(command).await)).unwrap();
    report["checks"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn r94_what_needs_a_store_is_skipped_where_it_cannot_be_opened() {
    let world = World::start().await;
    let checks = examine(&world, &[("FLEXGATE_STORE", "sqlite:/nowhere/at/all.db")]).await;
    for name in ["queue", "dead letters", "sweep"] {
        let found: Vec<&Value> = checks.iter().filter(|check| check["check"] == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0]["status"], "warning");
        assert!(found[0]["text"].as_str().unwrap().starts_with("skipped"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r95_a_misspelt_and_a_renamed_variable_are_a_warning() {
    let world = World::start().await;
    let changed = [("FLEXGATE_MAX_TTL", "60"), ("FLEXGATE_AHEAD_MILLISECONDS", "1000")];
    let checks = examine(&world, &changed).await;
    let said = |name: &str| {
        let found = checks.iter().find(|check| check["text"].as_str().unwrap().contains(name)).unwrap();
        assert_eq!((&found["check"], &found["status"]), (&json!("settings"), &json!("warning")));
        found["remedy"].as_str().unwrap().to_owned()
    };
    assert!(said("FLEXGATE_MAX_TTL ").contains("FLEXGATE_MAX_TTL_SECONDS"));
    assert!(said("FLEXGATE_AHEAD_MILLISECONDS").contains("FLEXGATE_PREWARM_MILLISECONDS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn r96_the_demo_does_not_hear_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("FLEXGATE_ISSUERS", "[{\"issuer\": \"https://elsewhere.example\", \"audiences\": [\"x\"]}]"),
        ("FLEXGATE_WEBHOOKS", "{}"),
        ("FLEXGATE_JUST_IN_TIME", "off"),
        ("FLEXGATE_ALLOWED_ROLES", "none"),
    ];
    let ended = output(flexgate(folder.path(), &["demo"], &variables)).await;
    assert!(ended.status.success(), "{}{}", out(&ended), err(&ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn r97_a_retry_without_a_key_names_both_ways() {
    let world = World::start().await;
    let refused = output(operator(&world, &["events", "retry"])).await;
    let said = err(&refused);
    assert!(refused.status.code() == Some(2) && said.contains("KEY") && said.contains("--all"), "{said}");
    let both = output(operator(&world, &["events", "retry", "a-key", "--all"])).await;
    assert_eq!(both.status.code(), Some(2));
}
