//! The tables of the queue, and of the events that versions before 0.2.0 recorded.

use rusqlite::{Connection, TransactionBehavior};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS events (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    key           TEXT NOT NULL UNIQUE,
    subject       TEXT NOT NULL,
    source        TEXT NOT NULL,
    event_id      TEXT NOT NULL,
    body          TEXT NOT NULL,
    status        TEXT NOT NULL DEFAULT 'waiting',
    attempts      INTEGER NOT NULL DEFAULT 0,
    visible_at    INTEGER NOT NULL,
    settled_at    INTEGER,
    reason        TEXT,
    arrived_at    INTEGER NOT NULL DEFAULT 0,
    lane          TEXT NOT NULL DEFAULT 'events'
) STRICT;
CREATE INDEX IF NOT EXISTS events_waiting ON events (subject, seq) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS events_settled ON events (status, settled_at);
CREATE TABLE IF NOT EXISTS subjects (
    subject            TEXT NOT NULL PRIMARY KEY,
    source             TEXT NOT NULL,
    flex_user_sid      TEXT,
    status_at          INTEGER,
    status_deactivates INTEGER NOT NULL DEFAULT 0,
    status_id          TEXT,
    profile_at         INTEGER,
    profile_id         TEXT
) STRICT;
";

/// The index on the column `lane`. Older stores lack this column, so `prepare` adds it before it creates the index.
const BY_LANE: &str = "CREATE INDEX IF NOT EXISTS events_by_lane ON events (lane, seq) WHERE status = 'waiting';";

/// Creates missing tables, columns and indexes. In the rows of an older store, the new column `arrived_at` gets the
/// value of `visible_at`, which is the closest known time, and the new column `lane` gets the value `events`.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    db.execute_batch(SCHEMA)?;
    let has = |column: &str| db.prepare("SELECT 1 FROM pragma_table_info('events') WHERE name = ?1")?.exists([column]);
    if !has("arrived_at")? {
        db.execute_batch(
            "ALTER TABLE events ADD COLUMN arrived_at INTEGER NOT NULL DEFAULT 0;
             UPDATE events SET arrived_at = visible_at;",
        )?;
    }
    if !has("lane")? {
        db.execute_batch("ALTER TABLE events ADD COLUMN lane TEXT NOT NULL DEFAULT 'events';")?;
    }
    db.execute_batch(BY_LANE)?;
    db.commit()
}
