//! The tables of the username index.

/// The column `seen_at` has no index. An index would cost more than it saves: every sweep (a run that reads all Flex
/// users) changes this column in every row, and only one query per sweep searches by it.
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
