//! The people ledger's tables.

/// The tables of people and statements have a rowid, because their rows are large. The table of pointers, which lead
/// from a username or another key to a person, is WITHOUT ROWID, because its rows are small. The comment on `SCHEMA` in
/// `opening.rs` explains this rule.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS people (
    id            TEXT NOT NULL PRIMARY KEY,
    username      TEXT NOT NULL,
    username_key  TEXT NOT NULL,
    flex_user_sid TEXT,
    given         TEXT NOT NULL,
    inactive      INTEGER NOT NULL,
    superseded    INTEGER NOT NULL DEFAULT 0,
    version       INTEGER NOT NULL,
    lease_holder  TEXT,
    leased_until  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS person_statements (
    person        TEXT NOT NULL,
    source        TEXT NOT NULL,
    statement     TEXT NOT NULL,
    subject       TEXT,
    PRIMARY KEY (person, source)
) STRICT;
CREATE TABLE IF NOT EXISTS person_pointers (
    pointer       TEXT PRIMARY KEY,
    person        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unattached_statements (
    subject       TEXT NOT NULL PRIMARY KEY,
    statement     TEXT NOT NULL
) STRICT;
";
