//! Tests that operator commands and imports follow the people ledger's rules (cases R70 and R71).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::{Command, Output};
use std::sync::Arc;

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{Said, Source, Statement};
use flexgate::domain::{EventId, Username};
use flexgate::platform::OwnerSettings;
use flexgate::store::PersonKey;
use flexgate::users::Provisioning;
use flexgate::users::ledger::{Earlier, Ledger, News};
use flexgate_test_support::World;
use http::Method;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");

async fn run(world: &World, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(world.variables()).envs(variables.iter().copied());
    command.current_dir(world.folder()).env("FLEXGATE_AUDIT_FILE", world.folder().join("audit.jsonl"));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Asserts that the command fails with this text on standard error.
fn refused(output: &Output, text: &str) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success() && said.contains(text), "{said}");
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn seed(world: &World, prefix: &str, roles: &[&str]) -> String {
    world.control("users", &json!({ "count": 1, "prefix": prefix, "roles": roles })).await;
    format!("{prefix}000000")
}

async fn flex_user(world: &World, name: &str) -> Value {
    let url = format!("{}/__sim/users", world.simulator.url()).parse().unwrap();
    let answer = world.exchange(reqwest::Request::new(Method::GET, url)).await;
    let users: Value = serde_json::from_slice(&answer.body).unwrap();
    users["users"].as_array().unwrap().iter().find(|user| user["username"] == name).unwrap().clone()
}

fn provision<'a>(name: &'a str, role: &'a str) -> Vec<&'a str> {
    let who = ["users", "provision", "--username", name, "--email", "ada@example.com", "--full-name", "Ada Lovelace"];
    [&who[..], &["--role", role]].concat()
}

fn import(world: &World, rows: &[(&str, &str, &str)]) -> [&'static str; 3] {
    let lines = rows.iter().map(|(name, email, roles)| format!("{name},{email},Ada Lovelace,{roles}\n"));
    let csv = format!("username,email,full_name,roles\n{}", lines.collect::<String>());
    std::fs::write(world.folder().join("people.csv"), csv).unwrap();
    ["users", "import", "people.csv"]
}

/// Records a statement by the webhook source `hr` that the person is active or inactive.
async fn hr_says(world: &World, name: &str, active: bool) {
    let mut reader = world.reader();
    let settings = OwnerSettings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let platform = world.platform(&settings.common);
    let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
    let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
    let (at, id) = (SystemClock.now(), EventId::from(1));
    let news = News {
        source: Source::Webhook("hr".parse().unwrap()),
        subject: Some("1815".parse().unwrap()),
        identity: None,
        username: Some(name.parse().unwrap()),
        flex_user_sid: None,
        statement: Statement { active: Some(Said::access(at, &id, active)), ..Statement::default() },
        earlier: Earlier::Everything,
    };
    let ledger = Ledger::of_platform(&platform, provisioning, &settings.policy);
    ledger.state(&news, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r71_the_last_administrator_is_neither_deactivated_nor_demoted_from_the_command_line() {
    let world = World::start().await;
    let chief = seed(&world, "chief", &["admin"]).await;
    refused(&run(&world, &[], &["users", "deprovision", &chief]).await, "last active administrator");
    assert_eq!(flex_user(&world, &chief).await["deactivated"], false);
    let other = seed(&world, "other", &["admin"]).await;
    done(&run(&world, &[], &["users", "deprovision", &other]).await);
    assert_eq!(flex_user(&world, &other).await["deactivated"], true);
    refused(&run(&world, &[], &["users", "deprovision", &chief]).await, "make somebody else admin first");
    done(&run(&world, &[("FLEXGATE_SCIM_LAST_ADMIN", "allow")], &["users", "deprovision", &chief]).await);
    assert_eq!(flex_user(&world, &chief).await["deactivated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn r71_an_import_that_would_demote_the_last_administrator_fails_in_that_row_alone() {
    let world = World::start().await;
    let admins = [("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")];
    done(&run(&world, &admins, &provision("chief", "admin")).await);
    let rows = [("chief", "chief@example.com", "agent"), ("grace", "grace@example.com", "agent")];
    let imported = run(&world, &admins, &import(&world, &rows)).await;
    assert_eq!(imported.status.code(), Some(1));
    assert!(String::from_utf8(imported.stdout).unwrap().starts_with("1 created, 0 updated, 0 unchanged, 1 failed"));
    let failed = std::fs::read_to_string(world.folder().join("people.csv.failed.csv")).unwrap();
    assert!(failed.contains("last active administrator"), "{failed}");
    assert_eq!(flex_user(&world, "chief").await["roles"], json!(["admin"]));
    assert_eq!(flex_user(&world, "grace").await["roles"], json!(["agent"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn r70_an_import_loses_no_role_that_flexgate_cannot_give() {
    let world = World::start().await;
    let name = seed(&world, "ada", &["agent", "wfo.full_access"]).await;
    let shown = flex_user(&world, &name).await;
    let full_name = shown["full_name"].as_str().unwrap().to_owned();
    let csv = format!("username,email,full_name,roles\n{name},new@example.com,{full_name},agent\n");
    std::fs::write(world.folder().join("people.csv"), csv).unwrap();
    done(&run(&world, &[], &["users", "import", "people.csv"]).await);
    let after = flex_user(&world, &name).await;
    assert_eq!((&after["email"], &after["roles"]), (&json!("new@example.com"), &json!(["agent", "wfo.full_access"])));
    // This import gives ada only the role supervisor. Flexgate refuses it, because the change would remove
    // `wfo.full_access`, which Flexgate cannot give back.
    let imported = run(&world, &[], &import(&world, &[(&name, "new@example.com", "supervisor")])).await;
    assert_eq!(imported.status.code(), Some(1));
    assert_eq!(flex_user(&world, &name).await["roles"], json!(["agent", "wfo.full_access"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_deactivation_holds_and_an_import_lifts_it() {
    let world = World::start().await;
    done(&run(&world, &[], &provision("ada", "agent")).await);
    done(&run(&world, &[], &["users", "deprovision", "ada"]).await);
    let inactive = async || {
        let mut reader = world.reader();
        let settings = OwnerSettings::read(&mut reader);
        let platform = world.platform(&reader.finish(settings).unwrap().common);
        let key = PersonKey::Username("ada".parse::<Username>().unwrap().key());
        platform.people().person(&key).await.unwrap().unwrap().inactive_by().next().cloned()
    };
    assert_eq!(inactive().await, Some(Source::Operator));
    done(&run(&world, &[], &import(&world, &[("ada", "ada@example.com", "supervisor")])).await);
    assert_eq!(inactive().await, None);
    let ada = flex_user(&world, "ada").await;
    assert_eq!((&ada["deactivated"], &ada["roles"]), (&json!(false), &json!(["supervisor"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_another_source_holds_inactive_no_operator_brings_back_but_somebody_new_may_have_the_name() {
    let world = World::start().await;
    done(&run(&world, &[], &provision("ada", "supervisor")).await);
    hr_says(&world, "ada", true).await;
    // An active person has this username, so `--new` must not give it to another person.
    let mut new = provision("ada", "agent");
    new.push("--new");
    refused(&run(&world, &[], &new).await, "belongs to another person");
    hr_says(&world, "ada", false).await;
    refused(&run(&world, &[], &provision("ada", "agent")).await, "webhook:hr says that the person is inactive");
    let imported = run(&world, &[], &import(&world, &[("ada", "ada@example.com", "agent")])).await;
    assert_eq!(imported.status.code(), Some(1));
    let failed = std::fs::read_to_string(world.folder().join("people.csv.failed.csv")).unwrap();
    assert!(failed.contains("webhook:hr"), "{failed}");
    assert_eq!(flex_user(&world, "ada").await["deactivated"], true);

    done(&run(&world, &[], &new).await);
    let ada = flex_user(&world, "ada").await;
    assert_eq!((&ada["deactivated"], &ada["roles"]), (&json!(false), &json!(["agent"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_say_that_an_inactive_person_is_the_same_who_is_back() {
    let world = World::start().await;
    done(&run(&world, &[], &provision("ada", "agent")).await);
    hr_says(&world, "ada", false).await;
    refused(&run(&world, &[], &provision("ada", "agent")).await, "--same for the same person");
    assert_eq!(flex_user(&world, "ada").await["deactivated"], true);
    let mut same = provision("ada", "supervisor");
    same.push("--same");
    done(&run(&world, &[], &same).await);
    let ada = flex_user(&world, "ada").await;
    assert_eq!((&ada["deactivated"], &ada["roles"]), (&json!(false), &json!(["supervisor"])));
    // `--same` has withdrawn only the old statement that the person is inactive. A new statement by the same source
    // must take effect.
    hr_says(&world, "ada", false).await;
    assert_eq!(flex_user(&world, "ada").await["deactivated"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_explained_in_sentences_and_as_json() {
    let world = World::start().await;
    done(&run(&world, &[], &provision("ada", "supervisor")).await);
    hr_says(&world, "ada", false).await;
    let said = done(&run(&world, &[], &["users", "explain", "ada"]).await);
    assert!(said.starts_with("Inactive: webhook:hr says so. One source is enough.\n"), "{said}");
    assert!(said.contains("Role supervisor: yes, operator says so.\n"), "{said}");
    assert!(!said.contains("ada@example.com"), "{said}");
    let json: Value =
        serde_json::from_str(&done(&run(&world, &[], &["users", "explain", "ada", "--json"]).await)).unwrap();
    assert_eq!((&json["active"], &json["inactive_by"]), (&json!(false), &json!(["webhook:hr"])));
    let name = seed(&world, "stranger", &["agent"]).await;
    assert!(done(&run(&world, &[], &["users", "explain", &name]).await).starts_with("No source has said anything"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_says_what_differs_and_a_dry_run_writes_nothing() {
    let world = World::start().await;
    done(&run(&world, &[], &provision("ada", "agent")).await);
    done(&run(&world, &[], &["users", "deprovision", "ada"]).await);
    // Somebody reactivates the user in the Console.
    let mut reader = world.reader();
    let settings = OwnerSettings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let flex = world.platform(&settings.common).flex(&settings.common, &settings.credential);
    let user = flexgate::domain::DesiredUser {
        username: "ada".parse().unwrap(),
        email: "ada@example.com".parse().unwrap(),
        full_name: "Ada Lovelace".parse().unwrap(),
        roles: [flexgate::domain::Role::Agent].into(),
        worker_attributes: None,
    };
    flex.provision(&user, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
    for (arguments, queued) in [(&["users", "sweep", "--dry-run"][..], "0"), (&["users", "sweep"], "1")] {
        let said = done(&run(&world, &[], arguments).await);
        assert!(said.contains("1  not as the ledger says\n"), "{said}");
        assert!(said.contains("1  of these, active though a source says inactive\n"), "{said}");
        assert!(said.contains(&format!("{queued}  repairs queued\n")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_seats_are_named_and_deactivated_only_on_request_within_the_limit() {
    let world = World::start().await;
    for (name, role) in [("ada", "agent"), ("grace", "agent"), ("chief", "admin")] {
        let variables = [("FLEXGATE_ALLOWED_ROLES", "agent,admin")];
        done(&run(&world, &variables, &provision(name, role)).await);
    }
    world.control("clock", &json!({ "offset_seconds": 0 })).await;
    let sweep = ["users", "sweep", "--names", "--idle", "1"];
    let said = done(&run(&world, &[], &[&sweep[..], &["--dry-run"]].concat()).await);
    assert!(said.contains("0  active, and idle for as long as --idle says\n"), "{said}");
    // By Twilio's clock, these two users were created two days ago. So their workers have been idle for two days.
    world.control("clock", &json!({ "offset_seconds": -2 * 86_400 })).await;
    for name in ["margaret", "katherine"] {
        done(&run(&world, &[], &provision(name, "agent")).await);
    }
    world.control("clock", &json!({ "offset_seconds": 0 })).await;
    let said = done(&run(&world, &[], &[&sweep[..], &["--dry-run", "--deactivate-idle"]].concat()).await);
    assert!(
        said.contains("2  active, and idle for as long as --idle says\n") && said.matches("idle       FU").count() == 2,
        "{said}"
    );
    assert_eq!(flex_user(&world, "margaret").await["deactivated"], false);
    let capped = run(&world, &[], &[&sweep[..], &["--deactivate-idle", "--limit", "1"]].concat()).await;
    refused(&capped, "2 idle users are more than --limit 1");
    assert_eq!(flex_user(&world, "margaret").await["deactivated"], false);
    done(&run(&world, &[], &[&sweep[..], &["--deactivate-idle"]].concat()).await);
    for (name, deactivated) in [("margaret", true), ("katherine", true), ("ada", false), ("chief", false)] {
        assert_eq!(flex_user(&world, name).await["deactivated"], deactivated, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_source_is_withdrawn_and_that_activates_nobody() {
    let world = World::start().await;
    done(&run(&world, &[], &provision("ada", "agent")).await);
    done(&run(&world, &[], &provision("grace", "agent")).await);
    hr_says(&world, "ada", false).await;
    let listed = done(&run(&world, &[], &["users", "sources"]).await);
    assert!(
        listed.lines().any(|line| line.trim_start().starts_with("2         2         0") && line.ends_with("operator")),
        "{listed}"
    );
    assert!(
        listed
            .lines()
            .any(|line| line.trim_start().starts_with("1         0         1") && line.ends_with("webhook:hr")),
        "{listed}"
    );
    let withdraw = ["users", "sources", "withdraw", "webhook:hr"];
    let foreseen = done(&run(&world, &[], &[&withdraw[..], &["--dry-run"]].concat()).await);
    assert!(foreseen.contains("1  whom it holds inactive, and who stay so"), "{foreseen}");
    refused(&run(&world, &[], &withdraw).await, "say --yes");
    let mistyped = run(&world, &[], &["users", "sources", "withdraw", "webhook:hrr", "--yes"]).await;
    refused(&mistyped, "webhook:hrr has said nothing about anybody; those that have: webhook:hr, operator");
    done(&run(&world, &[], &[&withdraw[..], &["--yes"]].concat()).await);
    let explained = done(&run(&world, &[], &["users", "explain", "ada", "--json"]).await);
    let explained: Value = serde_json::from_str(&explained).unwrap();
    assert_eq!((&explained["active"], &explained["inactive_by"]), (&json!(false), &json!(["operator"])));
    assert!(!done(&run(&world, &[], &["users", "sources"]).await).contains("webhook:hr"));
    // A second withdrawal of the same source's statements changes nothing.
    assert!(done(&run(&world, &[], &[&withdraw[..], &["--yes"]].concat()).await).contains("webhook:hr: 0 people"));

    // The user loses a role that only the withdrawn source gave.
    done(&run(&world, &[], &provision("grace", "supervisor")).await);
    done(&run(&world, &[], &["users", "sources", "withdraw", "operator", "--yes"]).await);
    let grace = flex_user(&world, "grace").await;
    assert_eq!((&grace["roles"], &grace["deactivated"]), (&json!(["agent"]), &json!(false)));
    assert_eq!(flex_user(&world, "ada").await["deactivated"], true);
    let listed = done(&run(&world, &[], &["users", "sources"]).await);
    assert!(listed.contains("1         0         1"), "an operator still holds the leaver inactive: {listed}");
}
