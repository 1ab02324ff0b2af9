//! Tests imports: files from spreadsheet programs (case R72 of the attack register), `--dry-run`, and the cost per row
//! (case R73).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fmt::Write as _;
use std::process::{Command, Output};

use flexgate_test_support::World;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const HEADER: &str = "username,email,full_name,roles";

async fn run(world: &World, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(world.variables()).envs(variables.iter().copied());
    command.current_dir(world.folder()).env("FLEXGATE_AUDIT_FILE", world.folder().join("audit.jsonl"));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn import(world: &World, file: &[u8]) -> Output {
    std::fs::write(world.folder().join("people.csv"), file).unwrap();
    run(world, &[], &["users", "import", "people.csv"]).await
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The file as Excel saves "Unicode Text".
fn utf_16(text: &str) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// Returns the CSV text with another delimiter and CRLF. Excel writes such files in countries with a decimal comma.
fn delimited(text: &str, delimiter: u8) -> String {
    let mut writer =
        csv::WriterBuilder::new().delimiter(delimiter).terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for record in csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes()).records() {
        writer.write_record(&record.unwrap()).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

/// Everything in the store.
fn stored(world: &World) -> Vec<String> {
    let db = rusqlite::Connection::open(world.store_path()).unwrap();
    let mut lines = Vec::new();
    for table in tables(&db) {
        let mut rows = db.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<_> = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at).unwrap()).collect();
            lines.push(format!("{table} {cells:?}"));
        }
    }
    lines
}

fn tables(db: &rusqlite::Connection) -> Vec<String> {
    let mut names = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").unwrap();
    names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r72_a_file_that_cannot_be_read_is_refused_in_one_line() {
    let world = World::start().await;
    for (file, parts) in [
        (
            &b"username|email|full_name|roles\nada|ada@example.com|Ada|agent\n"[..],
            ["are missing", "a comma, a semicolon or a tab"],
        ),
        (b"ada,ada@example.com,Ada,agent\n", ["are missing", "looks like a row"]),
        (b"username,email,full_name,roles\nada,ada@example.com,Jos\xe9,agent\n", ["line 2", "\"CSV UTF-8\""]),
        (b"PK\x03\x04\x14\0[Content_Types].xml xl/workbook.xml", ["Excel workbook (XLSX)", "\"CSV UTF-8\""]),
        (b"[{\"username\": \"ada\"}]", ["it is JSON", HEADER]),
        (b"username,email,full_name,roles\n,,,\n", ["no row", "below the header"]),
    ] {
        let refused = import(&world, file).await;
        let said = err(&refused);
        assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with("flexgate: people.csv: ") && parts.iter().all(|part| said.contains(part)), "{said}");
    }
    assert!(world.journal("").await.is_empty(), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn r72_an_export_comes_back_unchanged_from_a_spreadsheet() {
    let world = World::start().await;
    for name in ["ada", "=grace", "jos\u{e9}"] {
        world.at_twilio(name, &["agent", "supervisor"]).await;
    }
    // Flexgate cannot give roles such as `wfo.full_access`.
    for (prefix, roles) in [("planner", &["agent", "wfo.full_access"][..]), ("analyst", &["wfo.full_access"])] {
        world.control("users", &json!({ "count": 1, "prefix": prefix, "roles": roles })).await;
    }
    assert!(run(&world, &[], &["users", "export", "--output", "e.csv"]).await.status.success());
    let exported = std::fs::read_to_string(world.folder().join("e.csv")).unwrap();
    let before = world.twilio_users().await;
    world.forget_calls().await;
    let excel = format!("sep=;\r\n{};;;\r\n", delimited(&exported, b';').replace("\r\n", ";;\r\n"));
    for file in [
        exported.clone().into_bytes(),
        delimited(&exported, b';').into_bytes(),
        format!("\u{feff}{excel}").into_bytes(),
        utf_16(&delimited(&exported, b'\t')),
        utf_16(&excel),
    ] {
        let imported = import(&world, &file).await;
        assert!(imported.status.success(), "{}", err(&imported));
        assert!(out(&imported).starts_with("0 created, 0 updated, 5 unchanged, 0 failed"), "{}", out(&imported));
        assert!(err(&imported).contains("Flexgate cannot give roles that begin with wfo."), "{}", err(&imported));
    }
    assert_eq!(world.twilio_users().await, before);
    assert!(world.calls("flex-api").await.iter().all(|call| call.starts_with("GET ")), "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_change_and_writes_nothing() {
    let world = World::start().await;
    let admins = [("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")];
    for (name, roles) in [("ada", &["agent"][..]), ("idle", &["agent"])] {
        world.at_twilio(name, roles).await;
    }
    world.control("users", &json!({ "count": 1, "prefix": "wfo", "roles": ["wfo.full_access"] })).await;
    let gone = world.at_twilio("gone", &["agent"]).await;
    world.deprovision_at_twilio(&gone).await;
    world.switch(&json!({ "find_returns_deactivated": true })).await;
    let first = "\nGrace,grace@example.com,Grace Hopper,agent\nchief,chief@example.com,chief Example,admin\n";
    std::fs::write(world.folder().join("people.csv"), format!("{HEADER}{first}")).unwrap();
    assert!(run(&world, &admins, &["users", "import", "people.csv"]).await.status.success());
    let csv = format!(
        "{HEADER}\n\
        ada,ada@example.com,\"Ada, Countess\",agent;supervisor\n\
        idle,idle@example.com,idle Example,agent\n\
        linus,linus@example.com,Linus,agent\n\n\
        chief,chief@example.com,chief Example,agent\n\
        grace,new@example.com,Grace Hopper,agent\n\
        gone,gone@example.com,gone Example,agent\n\
        wfo000000,wfo@example.com,Wfo,agent\n\
        nobody,nobody@example.com,Nobody,wfo.full_access\n"
    );
    std::fs::write(world.folder().join("more.csv"), csv).unwrap();
    let (before, users) = (stored(&world), world.twilio_users().await);
    world.forget_calls().await;

    let shown = run(&world, &admins, &["users", "import", "more.csv", "--dry-run"]).await;
    let table = "\
line  username   field      now                    then
   2  ada        full_name  ada Example            Ada, Countess
   2  ada        roles      agent                  agent;supervisor
   3  idle       unchanged
   4  linus      new                               linus@example.com, Linus, agent
   6  chief      refused    this is the last active administrator: make somebody else admin first, or set FLEXGATE_SCIM_LAST_ADMIN to allow
   7  grace      email      grace@example.com      new@example.com
   8  gone       state      deactivated            active
   9  wfo000000  email      wfo000000@example.com  wfo@example.com
   9  wfo000000  refused    Flex shows a role that Flexgate cannot give, and changing full_name, roles would remove it: do that in the Console
  10  nobody     refused    Flexgate cannot give the roles of this row, and Flex has something else: change this user in the Flex console
1 new, 3 changed, 1 unchanged, 3 refused, 0 finished before; nothing was sent
";
    assert_eq!(out(&shown), table, "{}", err(&shown));
    assert_eq!(shown.status.code(), Some(1), "a row would be refused");
    assert!(err(&shown).contains("line 7: grace is another spelling of Grace."), "{}", err(&shown));

    let shown = run(&world, &admins, &["users", "import", "more.csv", "--dry-run", "--json"]).await;
    let rows: Vec<Value> = out(&shown).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 8);
    let change = |field: &str, now: Option<&str>, then: &str| json!({ "field": field, "now": now, "then": then });
    let roles = change("roles", Some("agent"), "agent;supervisor");
    let name = change("full_name", Some("ada Example"), "Ada, Countess");
    assert_eq!(rows[0], json!({ "line": 2, "username": "ada", "result": "changed", "changes": [name, roles] }));
    assert_eq!(rows[1], json!({ "line": 3, "username": "idle", "result": "unchanged" }));
    let new = [
        change("email", None, "linus@example.com"),
        change("full_name", None, "Linus"),
        change("roles", None, "agent"),
    ];
    assert_eq!(rows[2], json!({ "line": 4, "username": "linus", "result": "new", "changes": new }));
    assert_eq!((&rows[3]["result"], &rows[4]["known_as"]), (&json!("refused"), &json!("Grace")));
    assert!(rows[3]["reason"].as_str().unwrap().contains("last active administrator"));

    assert_eq!(stored(&world), before, "the store");
    assert_eq!(world.twilio_users().await, users);
    let calls = world.calls("flex-api").await;
    assert!(!calls.is_empty() && calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");
    assert!(!world.folder().join("more.csv.journal").exists() && !world.folder().join("more.csv.failed.csv").exists());

    // The real import makes the changes that the dry run has shown.
    let done = run(&world, &admins, &["users", "import", "more.csv"]).await;
    assert!(out(&done).starts_with("1 created, 3 updated, 1 unchanged, 3 failed"), "{}{}", out(&done), err(&done));
    let shown = run(&world, &admins, &["users", "import", "more.csv", "--dry-run"]).await;
    assert!(out(&shown).contains("   4  linus     finished before\n"), "{}", out(&shown));
    assert!(out(&shown).ends_with("0 new, 0 changed, 0 unchanged, 3 refused, 5 finished before; nothing was sent\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_another_spelling_of_a_known_username_changes_that_person_and_says_so() {
    let world = World::start().await;
    let first = format!("{HEADER}\nGrace,grace@example.com,Grace Hopper,agent\nada,ada@example.com,Ada,agent\n");
    let same = import(&world, first.as_bytes()).await;
    assert!(same.status.success() && !err(&same).contains("spelling"), "{}", err(&same));
    let second = format!("{HEADER}\nada,ada@example.com,Ada,agent\nGRACE,grace@example.com,Grace Hopper,supervisor\n");
    let other = import(&world, second.as_bytes()).await;
    assert!(other.status.success() && out(&other).starts_with("0 created, 1 updated, 1 unchanged"), "{}", out(&other));
    let warning = "line 3: GRACE is another spelling of Grace. Flexgate takes them for one person";
    assert!(err(&other).contains(warning), "{}", err(&other));
    let again = import(&world, second.as_bytes()).await;
    assert!(out(&again).starts_with("0 created, 0 updated, 2 unchanged"), "{}", out(&again));
    assert!(err(&again).contains(warning), "{}", err(&again));
    assert_eq!(world.twilio_users().await.len(), 2, "no second user");
    assert_eq!(world.twilio_user("Grace").await.unwrap()["roles"], json!(["supervisor"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn r84_a_row_that_was_only_compared_is_sent_when_the_other_spelling_is_gone() {
    let world = World::start().await;
    for username in ["Grace", "grace"] {
        world.at_twilio(username, &["agent"]).await;
    }
    let row = |name: &str| format!("{name},{name}@example.com,{name} Example,agent\n");
    let linus = "linus,linus@example.com,Linus,agent\n";
    // A row fails, so the journal stays.
    world.fault(&json!({ "service": "flex-api", "path_contains": "Provision", "kind": "status", "status": 400 })).await;
    let both = import(&world, format!("{HEADER}\n{}{}{linus}", row("Grace"), row("grace")).as_bytes()).await;
    assert!(out(&both).starts_with("0 created, 0 updated, 2 unchanged, 1 failed"), "{}", out(&both));
    world.no_faults().await;
    let says = async || out(&run(&world, &[], &["users", "explain", "grace"]).await);
    assert!(says().await.starts_with("No source has said anything"), "{}", says().await);

    let one = import(&world, format!("{HEADER}\n{}{linus}", row("grace")).as_bytes()).await;
    assert!(out(&one).starts_with("1 created, 0 updated, 1 unchanged, 0 failed, 0 finished before"), "{}", out(&one));
    assert!(says().await.starts_with("Active: operator says so."), "{}", says().await);
}

/// Imports new users. Returns the number of calls to Twilio, and of rows written to the store.
async fn cost(rows: u64) -> (u64, u64) {
    let world = World::start().await;
    let mut csv = format!("{HEADER}\n");
    for n in 0..rows {
        writeln!(csv, "u{n},u{n}@example.com,Person {n},agent").unwrap();
    }
    std::fs::write(world.folder().join("people.csv"), csv).unwrap();
    // This creates the tables.
    assert!(run(&world, &[], &["users", "list"]).await.status.success());
    let db = rusqlite::Connection::open(world.store_path()).unwrap();
    let mut sql = "CREATE TABLE written (rows INTEGER); INSERT INTO written VALUES (0);".to_owned();
    for table in tables(&db).iter().filter(|table| !table.starts_with("sqlite_")) {
        for change in ["INSERT", "UPDATE", "DELETE"] {
            writeln!(
                sql,
                "CREATE TRIGGER \"{table}_{change}\" AFTER {change} ON \"{table}\" BEGIN UPDATE written SET rows = rows + 1; END;"
            )
            .unwrap();
        }
    }
    db.execute_batch(&sql).unwrap();
    world.forget_calls().await;
    let imported = run(&world, &[], &["users", "import", "people.csv"]).await;
    assert!(out(&imported).starts_with(&format!("{rows} created")), "{}{}", out(&imported), err(&imported));
    let calls = world.ask(http::Method::GET, "/__sim/calls", &Value::Null).await;
    let written: i64 = db.query_row("SELECT rows FROM written", [], |row| row.get(0)).unwrap();
    (calls["twilio"].as_u64().unwrap(), written.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn r73_a_row_costs_the_same_however_many_rows_there_are() {
    const FEW: u64 = 100;
    let (few, many) = tokio::join!(cost(FEW), cost(20 * FEW));
    assert!(few.0 >= 2 * FEW && few.1 >= FEW, "{few:?}");
    // Twenty times as many rows may need twenty times as many calls and writes. Allow 2 % more, because the import
    // repeats a call if the answer from Twilio is late.
    for (few, many) in [(few.0, many.0), (few.1, many.1)] {
        assert!(many * 100 <= few * 20 * 102, "{few} for {FEW} rows, {many} for 20 times as many");
    }
}
