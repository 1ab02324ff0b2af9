//! The record in SQLite of when a person's sessions ended: one row for each [`EndingKey`] (Flex user, username or
//! identity).

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use time::OffsetDateTime;

use super::SqliteStore;
use super::values::moment;
use crate::store::{EndedUntil, EndingKey, SessionEndings, StoreError};

#[async_trait]
impl SessionEndings for SqliteStore {
    async fn record_ending(&self, keys: &[EndingKey], until: OffsetDateTime) -> Result<(), StoreError> {
        let keys: Vec<String> = keys.iter().map(EndingKey::digest).collect();
        self.write(move |db| {
            let mut statement = db.prepare_cached(
                "INSERT INTO session_endings (key, ended_until) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET ended_until = max(ended_until, ?2)",
            )?;
            for key in &keys {
                statement.execute(params![key, until.unix_timestamp()])?;
            }
            Ok(())
        })
        .await
    }

    async fn ended_until(&self, keys: &[EndingKey]) -> Result<EndedUntil, StoreError> {
        let keys: Vec<String> = keys.iter().map(EndingKey::digest).collect();
        self.read(move |db| {
            let mut latest = EndedUntil::default();
            let mut query = db.prepare_cached("SELECT ended_until FROM session_endings WHERE key = ?1")?;
            for key in &keys {
                latest = latest.max(EndedUntil(query.query_row([key], |row| moment(row, 0)).optional()?));
            }
            Ok(latest)
        })
        .await
    }
}
