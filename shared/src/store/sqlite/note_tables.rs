//! The table of the notes.

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS notes (
    key           TEXT PRIMARY KEY,
    document      TEXT NOT NULL,
    times         INTEGER NOT NULL,
    at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS notes_by_time ON notes (at);
";
