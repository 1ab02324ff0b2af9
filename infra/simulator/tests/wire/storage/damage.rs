//! Tests that the simulator does not start if one of its files is unreadable, and that the error names the file's
//! path.

use super::config;
use crate::common::sim_with;
use flexgate_simulator::{Simulator, StartError};

async fn refusal(folder: &std::path::Path) -> StartError {
    match Simulator::start(config(folder)).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

fn assert_damaged(error: &StartError, path: &std::path::Path) {
    assert_eq!(error.to_string(), format!("{} is damaged: delete it to start afresh", path.display()));
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    for (name, text) in [("state.sqlite3", "not a database".repeat(100)), ("state.json", "{\"directory\"".to_owned())] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, &text).unwrap();
        assert_damaged(&refusal(folder.path()).await, &path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it stays for its owner to look at");
        std::fs::remove_file(&path).unwrap();
        sim_with(config(folder.path())).await;
    }
}

#[tokio::test]
async fn a_database_with_foreign_rows_or_of_another_version_is_damaged() {
    for change in [
        "UPDATE users SET body = '{}' WHERE place = 1",
        "DELETE FROM users WHERE place = 0",
        "INSERT INTO team_people VALUES (7, 'members', 0, 'FU')",
        "DROP TABLE sessions",
        "PRAGMA user_version = 99",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sim = sim_with(config(folder.path())).await;
        sim.provision("ada", &["agent"]).await;
        sim.provision("bob", &["agent"]).await;
        sim.simulator.shutdown().await;
        let path = folder.path().join("state.sqlite3");
        rusqlite::Connection::open(&path).unwrap().execute_batch(change).unwrap();
        assert_damaged(&refusal(folder.path()).await, &path);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_database_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let sim = sim_with(config(folder.path())).await;
    sim.provision("ada", &["agent"]).await;
    for name in ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
