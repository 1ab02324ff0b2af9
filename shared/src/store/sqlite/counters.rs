//! Counters in SQLite, for rate limits.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use time::{Duration, OffsetDateTime};

use super::SqliteStore;
use super::values::moment;
use super::worker::Keep;
use crate::store::{Counted, Counters, StoreError, counter_key};

#[async_trait]
impl Counters for SqliteStore {
    async fn count(
        &self,
        kind: &str,
        what: &[&str],
        now: OffsetDateTime,
        span: Duration,
    ) -> Result<Counted, StoreError> {
        let counter = counter_key(kind, what);
        let count = move |db: &Connection| {
            let (now, until) = (now.unix_timestamp(), (now + span).truncate_to_second());
            let more = db
                .prepare_cached(
                    "UPDATE counters SET times = times + 1 WHERE counter = ?1 AND until > ?2 RETURNING times, until",
                )?
                .query_row(params![counter, now], |row| Ok(Counted { times: row.get(0)?, until: moment(row, 1)? }))
                .optional()?;
            if let Some(more) = more {
                return Ok(more);
            }
            db.prepare_cached("DELETE FROM counters WHERE until <= ?1")?.execute([now])?;
            db.prepare_cached("INSERT INTO counters (counter, times, until) VALUES (?1, 1, ?2)")?
                .execute(params![counter, until.unix_timestamp()])?;
            Ok(Counted { times: 1, until })
        };
        // A counter matters only for a short time span, so its write does not wait for an fsync.
        self.jobs.ask(Keep::Soon, count).await
    }

    async fn forget(&self, kind: &str, what: &[&str]) -> Result<(), StoreError> {
        let counter = counter_key(kind, what);
        let forget = move |db: &Connection| {
            db.prepare_cached("DELETE FROM counters WHERE counter = ?1")?.execute([counter]).map(drop)
        };
        self.jobs.ask(Keep::Soon, forget).await
    }
}
