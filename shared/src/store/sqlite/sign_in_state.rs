//! Stores the sign-in switch in SQLite, as a table with one row. With this switch, an operator stops all sign-ins or
//! ends all sessions.

use async_trait::async_trait;
use rusqlite::Row;
use time::OffsetDateTime;

use super::SqliteStore;
use super::values::moment;
use crate::store::{SignInState, SignInSwitch, StoreError};

#[async_trait]
impl SignInSwitch for SqliteStore {
    async fn sign_in_state(&self) -> Result<SignInState, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT locked_at, ended_at FROM sign_in_state")?
                .query_row([], |row| Ok(SignInState { locked_at: optional(row, 0)?, ended_at: optional(row, 1)? }))
        })
        .await
    }

    async fn set_lock(&self, locked_at: Option<OffsetDateTime>) -> Result<(), StoreError> {
        self.write(move |db| {
            db.prepare_cached("UPDATE sign_in_state SET locked_at = ?1")?
                .execute([locked_at.map(OffsetDateTime::unix_timestamp)])
                .map(drop)
        })
        .await
    }

    async fn end_until(&self, at: OffsetDateTime) -> Result<(), StoreError> {
        self.write(move |db| {
            db.prepare_cached("UPDATE sign_in_state SET ended_at = max(coalesce(ended_at, 0), ?1)")?
                .execute([at.unix_timestamp()])
                .map(drop)
        })
        .await
    }
}

fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<OffsetDateTime>> {
    let seconds: Option<i64> = row.get(column)?;
    seconds.map(|_| moment(row, column)).transpose()
}
