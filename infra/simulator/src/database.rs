//! The SQLite file in the data directory. The simulator reads it once, at startup. A save writes only the changed rows,
//! in one transaction.

use std::path::PathBuf;

use rusqlite::{Connection, ErrorCode, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lasting::{Lasting, Legacy};
use crate::persist::{self, Store};
use crate::simulator::StartError;
use crate::twilio::team_list::{Part, TeamRow};

const FILE: &str = "state.sqlite3";
/// The file in which earlier versions of the simulator stored their state.
const LEGACY_FILE: &str = "state.json";
const VERSION: i64 = 1;

/// In WAL mode with `synchronous = NORMAL`, a killed process loses no transaction, and a power failure does not damage
/// the file. Only checkpoints need an fsync.
const SETTINGS: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA busy_timeout = 5000;
";

/// The table `users` needs no index besides its key, because the simulator looks users up in memory.
const SCHEMA: &str = "
CREATE TABLE users (place INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE teams (number INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE team_people (
    team INTEGER NOT NULL, part TEXT NOT NULL, number INTEGER NOT NULL, user TEXT NOT NULL,
    PRIMARY KEY (team, part, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (refresh_token TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE revoked (jti TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";

const EMPTY: &str = "
DELETE FROM users; DELETE FROM teams; DELETE FROM team_people; DELETE FROM sessions; DELETE FROM revoked;
";

pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
    transactions: u64,
}

/// The numbers of transactions and rows that the simulator has written since its start.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    transactions: u64,
    rows: u64,
}

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("SQLite refused")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a row is not JSON of this version")]
    Json(#[from] serde_json::Error),
    #[error("a row does not fit the others")]
    Row,
}

impl Database {
    /// Opens the file and loads its contents. Returns `None` without a data directory.
    pub(crate) fn open(store: &Store) -> Result<Option<(Self, Lasting)>, StartError> {
        let Some(path) = store.path(FILE) else { return Ok(None) };
        persist::touch_private(&path).map_err(|source| StartError::Storage { path: path.clone(), source })?;
        let mut database = Connection::open(&path)
            .and_then(|connection| {
                connection.execute_batch(SETTINGS)?;
                Ok(Self { connection, path: path.clone(), transactions: 0 })
            })
            .map_err(|error| start_error(path, error.into()))?;
        let lasting = database.set_up(store)?;
        Ok(Some((database, lasting)))
    }

    /// Writes the rows that have changed since the last save.
    pub(crate) fn save(&mut self, lasting: &Lasting) -> Result<(), Failure> {
        let transaction = self.connection.transaction()?;
        write(&transaction, lasting)?;
        transaction.commit()?;
        self.transactions += 1;
        Ok(())
    }

    pub(crate) fn written(&self) -> Written {
        Written { transactions: self.transactions, rows: self.connection.total_changes() }
    }

    fn set_up(&mut self, store: &Store) -> Result<Lasting, StartError> {
        let path = self.path.clone();
        let failed = |error: Failure| start_error(path.clone(), error);
        let version = self.version().map_err(failed)?;
        let legacy = store.read(LEGACY_FILE)?;
        match version {
            0 => {
                let lasting = match &legacy {
                    Some(text) => serde_json::from_str::<Legacy>(text).map_err(|_| store.corrupt(LEGACY_FILE))?.into(),
                    None => Lasting::default(),
                };
                self.create(&lasting).map_err(failed)?;
            }
            VERSION => {}
            _ => return Err(store.corrupt(FILE)),
        }
        if legacy.is_some() {
            // The database now contains everything from `state.json`, so the file is no longer needed.
            store.remove(LEGACY_FILE)?;
        }
        load(&self.connection).map_err(failed)
    }

    fn version(&self) -> Result<i64, Failure> {
        Ok(self.connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
    }

    /// Creates and fills the tables, and sets the schema version, in one transaction. So if the file has a version, its
    /// tables are complete.
    fn create(&mut self, lasting: &Lasting) -> Result<(), Failure> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        write(&transaction, lasting)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        // Write the rows to disk now, because the caller deletes the file that they came from.
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

fn write(transaction: &Transaction<'_>, lasting: &Lasting) -> Result<(), Failure> {
    if lasting.is_emptied() {
        transaction.execute_batch(EMPTY)?;
    }
    for (place, user) in lasting.directory.changed() {
        let place = i64::try_from(place).map_err(|_| Failure::Row)?;
        put(transaction, "INSERT OR REPLACE INTO users (place, body) VALUES (?1, ?2)", place, user)?;
    }
    for row in lasting.directory.teams.changed() {
        write_team_row(transaction, lasting, *row)?;
    }
    for (token, session) in lasting.sessions.changed() {
        match session {
            Some(session) => {
                put(
                    transaction,
                    "INSERT OR REPLACE INTO sessions (refresh_token, body) VALUES (?1, ?2)",
                    token,
                    session,
                )?;
            }
            None => run(transaction, "DELETE FROM sessions WHERE refresh_token = ?1", [token])?,
        }
    }
    for (jti, _) in lasting.revoked.changed() {
        run(transaction, "INSERT OR REPLACE INTO revoked (jti) VALUES (?1)", [jti])?;
    }
    Ok(())
}

fn write_team_row(transaction: &Transaction<'_>, lasting: &Lasting, row: TeamRow) -> Result<(), Failure> {
    let teams = &lasting.directory.teams;
    match row {
        TeamRow::Team(number) => {
            if let Some(team) = teams.team_row(number) {
                return put(transaction, "INSERT OR REPLACE INTO teams (number, body) VALUES (?1, ?2)", number, team);
            }
            run(transaction, "DELETE FROM teams WHERE number = ?1", [number])?;
            run(transaction, "DELETE FROM team_people WHERE team = ?1", [number])
        }
        TeamRow::Person { team, part, number } => match teams.person_row(team, part, number) {
            Some(user) => run(
                transaction,
                "INSERT OR REPLACE INTO team_people (team, part, number, user) VALUES (?1, ?2, ?3, ?4)",
                params![team, part.name(), number, user],
            ),
            None => run(
                transaction,
                "DELETE FROM team_people WHERE team = ?1 AND part = ?2 AND number = ?3",
                params![team, part.name(), number],
            ),
        },
    }
}

fn put(
    transaction: &Transaction<'_>,
    statement: &str,
    key: impl rusqlite::ToSql,
    body: &impl Serialize,
) -> Result<(), Failure> {
    run(transaction, statement, params![key, serde_json::to_string(body)?])
}

fn run(transaction: &Transaction<'_>, statement: &str, parameters: impl rusqlite::Params) -> Result<(), Failure> {
    transaction.prepare_cached(statement)?.execute(parameters)?;
    Ok(())
}

fn load(connection: &Connection) -> Result<Lasting, Failure> {
    let mut lasting = Lasting::default();
    each(connection, "SELECT place, body FROM users ORDER BY place", |row| {
        // A row's key must equal the user's index in memory. Otherwise, later saves would change the wrong rows.
        let expected = i64::try_from(lasting.directory.users().len()).map_err(|_| Failure::Row)?;
        if row.get::<_, i64>(0)? != expected {
            return Err(Failure::Row);
        }
        lasting.directory.load(body(row, 1)?);
        Ok(())
    })?;
    let teams = &mut lasting.directory.teams;
    each(connection, "SELECT number, body FROM teams ORDER BY number", |row| {
        teams.load_team(row.get(0)?, body(row, 1)?);
        Ok(())
    })?;
    each(connection, "SELECT team, part, number, user FROM team_people", |row| {
        let part = Part::from_name(&row.get::<_, String>(1)?).ok_or(Failure::Row)?;
        let known = teams.load_person(row.get(0)?, part, row.get(2)?, row.get(3)?);
        if known { Ok(()) } else { Err(Failure::Row) }
    })?;
    each(connection, "SELECT refresh_token, body FROM sessions", |row| {
        lasting.sessions.load(row.get(0)?, body(row, 1)?);
        Ok(())
    })?;
    each(connection, "SELECT jti FROM revoked", |row| {
        lasting.revoked.load(row.get(0)?, ());
        Ok(())
    })?;
    Ok(lasting)
}

fn each(
    connection: &Connection,
    query: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn body<T: DeserializeOwned>(row: &rusqlite::Row<'_>, column: usize) -> Result<T, Failure> {
    Ok(serde_json::from_str(&row.get::<_, String>(column)?)?)
}

/// Returns the error for an unreadable file. If the system only denied access, the error must not advise deleting the
/// file.
fn start_error(path: PathBuf, error: Failure) -> StartError {
    let withheld = matches!(&error, Failure::Sqlite(error) if matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
        )
    ));
    if withheld {
        StartError::Storage { path, source: std::io::Error::other(error) }
    } else {
        StartError::Corrupt { path }
    }
}
