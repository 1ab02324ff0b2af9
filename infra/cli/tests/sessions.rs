//! Tests `flexgate sessions`, as an operator would run it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::process::{Command, Output};

use flexgate::store::{Session, SessionKey, SessionOrigin, Sessions as _, SignInSwitch as _, SqliteStore};
use flexgate_test_support::World;
use time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");

fn sessions(world: &World, arguments: &[&str]) -> Output {
    let trail = world.folder().join("audit.jsonl");
    let mut command = Command::new(BINARY);
    command.arg("sessions").args(arguments).envs(world.variables()).env("FLEXGATE_AUDIT_FILE", trail);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Adds a session with this id for user number `user`. Returns the session's key.
async fn add(store: &SqliteStore, world: &World, id: &str, user: u8, username: Option<&str>) -> SessionKey {
    let (now, key) = (world.clock_rng().now(), SessionKey::of(id));
    let session = Session {
        key: key.clone(),
        profile: "default".parse().unwrap(),
        flex_user_sid: format!("FU{user:032x}").parse().unwrap(),
        sealed: "sealed-canary".into(),
        version: 0,
        created_at: now,
        used_at: now,
        ends_at: now + Duration::hours(1),
        seat: None,
        origin: SessionOrigin { username: username.map(str::to_owned), ..SessionOrigin::default() },
    };
    store.insert(session).await.unwrap();
    key
}

#[tokio::test]
async fn an_operator_lists_and_ends_sessions_and_every_end_is_audited() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let mut keys = Vec::new();
    for (id, user, username) in
        [("a", 1, Some("ada")), ("b", 1, Some("ada")), ("c", 2, Some("Grace\u{1b}[2J")), ("d", 3, None), ("e", 4, None)]
    {
        keys.push(add(&store, &world, id, user, username).await);
    }
    let listed = said(&sessions(&world, &["list"]));
    assert_eq!((listed.lines().count(), listed.lines().last()), (6, Some("5 browsers signed in")), "{listed}");
    assert!(!listed.contains("canary") && !listed.contains('\u{1b}'), "{listed}");
    assert_eq!(said(&sessions(&world, &["list", "ADA"])).lines().count(), 3, "usernames match regardless of case");
    assert_eq!(said(&sessions(&world, &["list", &format!("FU{:032x}", 3)])).lines().count(), 2);

    assert_eq!(sessions(&world, &["end"]).status.code(), Some(2));
    assert_eq!(sessions(&world, &["end", "no id"]).status.code(), Some(2));
    assert_eq!(sessions(&world, &["end", SessionKey::of("nobody").as_str()]).status.code(), Some(1));
    assert_eq!(sessions(&world, &["end", "--user", "nobody"]).status.code(), Some(1));
    let ended = sessions(&world, &["end", keys[2].as_str(), "--reason", "laptop lost"]);
    assert_eq!(said(&ended).trim(), "1 session ended");
    assert_eq!(said(&sessions(&world, &["end", "--user", "ada"])).trim(), "2 sessions ended");
    let of_sid = sessions(&world, &["end", "--user", &format!("FU{:032x}", 3)]);
    assert_eq!(said(&of_sid).trim(), "1 session ended", "a session without a username ends by its SID");
    for (key, is_there) in keys.iter().zip([false, false, false, false, true]) {
        assert_eq!(store.get(key).await.unwrap().is_some(), is_there);
    }
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    for audited in ["end_session", "end_sessions", "laptop lost", &format!("FU{:032x}", 2)] {
        assert!(trail.contains(audited), "{audited} in {trail}");
    }
}

#[tokio::test]
async fn g23_an_operator_ends_all_sessions_and_locks_the_sign_in() {
    let world = World::start().await;
    let store = SqliteStore::open(&world.store_path()).unwrap();
    let mut keys = Vec::new();
    for id in 0..150 {
        keys.push(add(&store, &world, &id.to_string(), 1, None).await);
    }
    assert!(said(&sessions(&world, &["lock", "--reason", "stolen keys"])).contains("unlock"));
    assert!(store.sign_in_state().await.unwrap().locked_at.is_some());
    assert!(said(&sessions(&world, &["list"])).contains("locked since"));
    assert!(said(&sessions(&world, &["end", "--all"])).starts_with("150 sessions ended at once"));
    for key in &keys {
        assert_eq!(store.get(key).await.unwrap(), None);
    }
    let state = store.sign_in_state().await.unwrap();
    assert!(state.ends(world.clock_rng().now() - Duration::HOUR), "gateways refuse sessions that the list lacks");
    said(&sessions(&world, &["unlock"]));
    assert_eq!(store.sign_in_state().await.unwrap().locked_at, None);
    let trail = std::fs::read_to_string(world.folder().join("audit.jsonl")).unwrap();
    for audited in ["lock_sign_in", "stolen keys", "end_all_sessions", "unlock_sign_in"] {
        assert!(trail.contains(audited), "{audited} in {trail}");
    }
}
