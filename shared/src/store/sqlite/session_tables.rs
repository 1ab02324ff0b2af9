//! The tables of sessions.

use rusqlite::{Connection, TransactionBehavior};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sessions (
    key           TEXT NOT NULL PRIMARY KEY,
    profile       TEXT NOT NULL,
    flex_user_sid TEXT NOT NULL,
    sealed        TEXT NOT NULL,
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    used_at       INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,
    leased_until  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (flex_user_sid);
CREATE INDEX IF NOT EXISTS sessions_by_end ON sessions (ends_at);
CREATE TABLE IF NOT EXISTS session_seats (
    flex_user_sid TEXT NOT NULL,
    profile       TEXT NOT NULL,
    seat          TEXT NOT NULL,
    is_only       INTEGER NOT NULL,
    until         INTEGER NOT NULL,
    PRIMARY KEY (flex_user_sid, profile)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS session_seats_by_end ON session_seats (until);
CREATE TABLE IF NOT EXISTS session_endings (
    key           TEXT NOT NULL PRIMARY KEY,
    ended_until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sign_in_state (
    only_one      INTEGER PRIMARY KEY CHECK (only_one = 1),
    locked_at     INTEGER,
    ended_at      INTEGER
) STRICT;
INSERT OR IGNORE INTO sign_in_state (only_one) VALUES (1);
";

/// The columns that version 0.2.0 did not have. They are null in the sessions that version 0.2.0 stored.
const LATER: [&str; 5] = ["seat TEXT", "username TEXT", "network TEXT", "browser TEXT", "idle_seconds INTEGER"];

/// Creates missing tables and columns.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    db.execute_batch(SCHEMA)?;
    let has =
        |column: &str| db.prepare("SELECT 1 FROM pragma_table_info('sessions') WHERE name = ?1")?.exists([column]);
    if !has("seat")? {
        for column in LATER {
            db.execute_batch(&format!("ALTER TABLE sessions ADD COLUMN {column};"))?;
        }
    }
    db.commit()
}
