//! Stores notes about refused requests and ignored events in SQLite.

use async_trait::async_trait;
use rusqlite::params;
use time::OffsetDateTime;

use super::SqliteStore;
use crate::store::StoreError;
use crate::store::activity::{NOTES_KEPT, Note, Notes};

#[async_trait]
impl Notes for SqliteStore {
    async fn note(&self, note: &Note) -> Result<(), StoreError> {
        let (key, times, at) = (note.key(), note.times, note.at.unix_timestamp());
        let document = serde_json::to_string(note).map_err(|error| StoreError::Corrupt(error.into()))?;
        let oldest = (note.at - NOTES_KEPT).unix_timestamp();
        self.write(move |db| {
            db.prepare_cached("DELETE FROM notes WHERE at < ?1")?.execute([oldest])?;
            let sql = "INSERT INTO notes (key, document, times, at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (key) DO UPDATE SET times = times + ?3, at = max(at, ?4)";
            db.prepare_cached(sql)?.execute(params![key, document, times, at]).map(drop)
        })
        .await
    }

    async fn notes(&self, now: OffsetDateTime) -> Result<Vec<Note>, StoreError> {
        let oldest = (now - NOTES_KEPT).unix_timestamp();
        let rows: Vec<(String, u32, i64)> = self
            .read(move |db| {
                db.prepare_cached("SELECT document, times, at FROM notes WHERE at >= ?1 ORDER BY at DESC, key")?
                    .query_map([oldest], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .await?;
        let read = |(document, times, at): (String, u32, i64)| {
            let note: Note = serde_json::from_str(&document).map_err(|error| StoreError::Corrupt(error.into()))?;
            let at = OffsetDateTime::from_unix_timestamp(at).map_err(|error| StoreError::Corrupt(error.into()))?;
            Ok(Note { times, at, ..note })
        };
        rows.into_iter().map(read).collect()
    }
}
