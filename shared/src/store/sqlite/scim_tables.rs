//! The SCIM store's tables.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::scim::folded;

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
    updated_at    INTEGER NOT NULL,
    updated_millis INTEGER NOT NULL DEFAULT 0
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
    updated_at    INTEGER NOT NULL,
    updated_millis INTEGER NOT NULL DEFAULT 0
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

/// Creates missing tables and columns. In the rows of an older store, the column `holder` of `scim_work` stays empty,
/// because the processes that did this work have ended.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    db.execute_batch(SCHEMA)?;
    if !has_column(&db, "scim_work", "holder")? {
        db.execute_batch("ALTER TABLE scim_work ADD COLUMN holder TEXT;")?;
    }
    if !has_column(&db, "scim_users", "updated_millis")? {
        db.execute_batch(
            "ALTER TABLE scim_users ADD COLUMN updated_millis INTEGER NOT NULL DEFAULT 0;
             ALTER TABLE scim_groups ADD COLUMN updated_millis INTEGER NOT NULL DEFAULT 0;",
        )?;
        refold(&db, "scim_users", "username", "username_key")?;
        refold(&db, "scim_groups", "display_name", "display_key")?;
    }
    db.commit()
}

fn has_column(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    db.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?.exists([table, column])
}

/// Computes the keys of names again, because earlier versions computed them without Unicode composition. If two
/// groups would get the same key, the second one keeps its old key.
fn refold(db: &Connection, table: &str, name: &str, key: &str) -> rusqlite::Result<()> {
    let mut update = db.prepare(&format!("UPDATE OR IGNORE {table} SET {key} = ?2 WHERE id = ?1"))?;
    let mut select = db.prepare(&format!("SELECT id, {name}, {key} FROM {table}"))?;
    let rows: Vec<(String, String, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
    for (id, name, key) in rows {
        if folded(&name) != key {
            update.execute([id, folded(&name)])?;
        }
    }
    Ok(())
}
