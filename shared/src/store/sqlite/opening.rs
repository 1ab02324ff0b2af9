//! Opens the store's file, and creates its tables.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::values::failure;
use super::{claim_tables, event_tables, note_tables, people_tables, scim_tables, session_tables, username_tables};
use crate::store::StoreError;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The size of the cache of prepared statements. It has room for all SQL statements of this program.
const STATEMENTS: usize = 128;

/// Tables with small rows are WITHOUT ROWID. Tables with large rows are not, because the inner pages of a WITHOUT ROWID
/// table contain whole rows. With large rows, the B-tree of such a table would become deep and slow.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS return_addresses (
    login         TEXT NOT NULL PRIMARY KEY,
    sealed        TEXT NOT NULL,
    until         INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS return_addresses_by_end ON return_addresses (until);
CREATE TABLE IF NOT EXISTS counters (
    counter       TEXT PRIMARY KEY,
    times         INTEGER NOT NULL,
    until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counters_by_end ON counters (until);
CREATE TABLE IF NOT EXISTS bindings (
    identity      TEXT PRIMARY KEY,
    flex_user_sid TEXT NOT NULL UNIQUE,
    bound_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Creates the missing tables, and sets the connection up.
pub(super) fn prepared(mut connection: Connection) -> Result<Connection, StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failure)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON;").map_err(failure)?;
    connection.execute_batch(SCHEMA).map_err(failure)?;
    claim_tables::prepare(&mut connection).map_err(failure)?;
    session_tables::prepare(&mut connection).map_err(failure)?;
    event_tables::prepare(&mut connection).map_err(failure)?;
    scim_tables::prepare(&mut connection).map_err(failure)?;
    connection.execute_batch(people_tables::SCHEMA).map_err(failure)?;
    connection.execute_batch(username_tables::SCHEMA).map_err(failure)?;
    connection.execute_batch(note_tables::SCHEMA).map_err(failure)?;
    Ok(connection)
}

/// Creates the store's file if it is missing. Only the file's owner has access. SQLite gives the same access rights to
/// the files that it creates beside this file.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
