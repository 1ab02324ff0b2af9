//! The SCIM store's tables.

use rusqlite::{Connection, TransactionBehavior};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS scim_users (
    id            TEXT NOT NULL PRIMARY KEY,
    current       TEXT NOT NULL,
    username      TEXT NOT NULL,
    username_key  TEXT NOT NULL,
    external_id   TEXT,
    asserted      TEXT NOT NULL,
    deleted       INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS scim_users_by_current ON scim_users (current);
CREATE INDEX IF NOT EXISTS scim_users_by_name ON scim_users (username_key);
CREATE INDEX IF NOT EXISTS scim_users_by_external_id ON scim_users (external_id);
CREATE TABLE IF NOT EXISTS scim_groups (
    id            TEXT PRIMARY KEY,
    display_name  TEXT NOT NULL,
    display_key   TEXT NOT NULL UNIQUE,
    external_id   TEXT,
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scim_members (
    group_id      TEXT NOT NULL,
    user          TEXT NOT NULL,
    present       INTEGER NOT NULL,
    conferred     TEXT,
    PRIMARY KEY (group_id, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS scim_members_by_user ON scim_members (user);
CREATE TABLE IF NOT EXISTS scim_work (
    work          TEXT PRIMARY KEY,
    until         INTEGER NOT NULL,
    intended      INTEGER NOT NULL DEFAULT 0,
    holder        TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scim_marks (
    first         INTEGER PRIMARY KEY,
    token         TEXT NOT NULL,
    until         INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS scim_total (
    only_one      INTEGER PRIMARY KEY CHECK (only_one = 1),
    total         INTEGER NOT NULL,
    until         INTEGER NOT NULL
) STRICT;
";

/// Creates missing tables and columns. In a store from before the column `holder` existed, no process can still be
/// doing the recorded work.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    db.execute_batch(SCHEMA)?;
    if !db.prepare("SELECT 1 FROM pragma_table_info('scim_work') WHERE name = 'holder'")?.exists([])? {
        db.execute_batch("ALTER TABLE scim_work ADD COLUMN holder TEXT;")?;
    }
    db.commit()
}
