//! The tables of the username index.

/// There is no index on `seen_at`. Every sweep rewrites every row, and only one query per sweep searches by this
/// column.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS seen_users (
    username_key  TEXT NOT NULL,
    flex_user_sid TEXT NOT NULL,
    username      TEXT NOT NULL,
    active        INTEGER NOT NULL,
    seen_at       INTEGER NOT NULL,
    PRIMARY KEY (username_key, flex_user_sid)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_walk (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    began         INTEGER NOT NULL
) STRICT;
";
