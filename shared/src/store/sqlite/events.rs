//! The queue, its dead letters, and the events that versions before 0.2.0 recorded, in SQLite.
//!
//! Each event stays in one table until a week after it was applied, so that the queue recognises a repeated event. The
//! body of an event contains personal data, and is erased once the event is applied.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

use super::SqliteStore;
use super::values::parsed;
use crate::domain::{History, Moment, SourceName, SubjectId};
use crate::store::{
    Backlog, DeadLetter, DeadLetters, EventHistory, EventQueue, EventStatus, Inbox, Lane, Message, Settled, StoreError,
    Taken, fingerprint,
};

/// How long the queue remembers an applied event, without its body.
const REMEMBERED: Duration = Duration::days(7);

impl SqliteStore {
    /// Returns the receiving end of the queue in this store.
    #[must_use]
    pub fn inbox(&self) -> Arc<dyn Inbox> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Inbox for SqliteStore {
    fn arrivals(&self) -> Arc<Notify> {
        self.arrivals.clone()
    }

    async fn take(
        &self,
        lane: Lane,
        limit: u32,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<Taken>, StoreError> {
        self.write(move |db| {
            let taken = ready(db, lane, limit, millis(now))?;
            for message in &taken {
                db.prepare_cached("UPDATE events SET visible_at = ?2, attempts = attempts + 1 WHERE seq = ?1")?
                    .execute(params![message.seq, millis(until)])?;
            }
            Ok(taken)
        })
        .await
    }

    async fn settle(&self, taken: &Taken, settled: Settled, now: OffsetDateTime) -> Result<(), StoreError> {
        let (seq, attempts) = (taken.seq, taken.attempts);
        self.write(move |db| {
            let (status, visible_at, reason) = match settled {
                Settled::Applied => ("applied", None, None),
                Settled::Later(at) => ("waiting", Some(millis(at)), None),
                Settled::Dead(reason) => ("dead", None, Some(reason)),
            };
            db.prepare_cached(
                "UPDATE events SET status = ?3, reason = ?4, visible_at = coalesce(?5, visible_at),
                         settled_at = CASE ?3 WHEN 'waiting' THEN NULL ELSE ?6 END,
                         body = CASE ?3 WHEN 'applied' THEN '' ELSE body END
                     WHERE seq = ?1 AND attempts = ?2 AND status = 'waiting'",
            )?
            .execute(params![seq, attempts, status, reason, visible_at, millis(now)])
            .map(drop)
        })
        .await
    }

    async fn count(&self, status: EventStatus) -> Result<u64, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT count(*) FROM events WHERE status = ?1")?
                .query_row([name(status)], |row| row.get::<_, i64>(0))
                .map(i64::cast_unsigned)
        })
        .await
    }

    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError> {
        self.write(move |db| {
            db.prepare_cached("DELETE FROM events WHERE status = 'applied' AND settled_at < ?1")?
                .execute([millis(now - REMEMBERED)])
                .map(|count| count as u64)
        })
        .await
    }
}

/// Returns the first waiting message about each subject. Leaves out a message that is leased, or that must not be
/// retried yet.
fn ready(db: &Connection, lane: Lane, limit: u32, now: i64) -> rusqlite::Result<Vec<Taken>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, body, attempts FROM events AS this
         WHERE lane = ?3 AND status = 'waiting' AND visible_at <= ?1 AND NOT EXISTS (
             SELECT 1 FROM events AS earlier
             WHERE earlier.status = 'waiting' AND earlier.subject = this.subject AND earlier.seq < this.seq)
         ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map(params![now, limit, lane_name(lane)], |row| {
        Ok(Taken { seq: row.get(0)?, body: row.get(1)?, attempts: row.get::<_, u32>(2)? + 1 })
    })?;
    rows.collect()
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Events => "events",
        Lane::Bulk => "bulk",
    }
}

fn name(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Waiting => "waiting",
        EventStatus::Applied => "applied",
        EventStatus::Dead => "dead",
    }
}

#[async_trait]
impl EventQueue for SqliteStore {
    async fn send(&self, messages: &[Message], now: OffsetDateTime) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for message in messages {
            let body = serde_json::to_string(message).map_err(|error| StoreError::Corrupt(error.into()))?;
            let lane = lane_name(message.lane());
            let (source, id) = (message.source().to_owned(), message.id().into_owned());
            rows.push((message.key(), message.group(), source, id, body, lane));
        }
        self.write(move |db| {
            for (key, group, source, id, body, lane) in rows {
                db.prepare_cached(
                    "INSERT OR IGNORE INTO events (key, subject, source, event_id, body, visible_at, arrived_at, lane)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7)",
                )?
                .execute(params![key, group, source, id, body, millis(now), lane])?;
            }
            Ok(())
        })
        .await?;
        self.arrivals.notify_one();
        Ok(())
    }

    async fn backlog(&self, lane: Lane) -> Result<Backlog, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT count(*), min(arrived_at) FROM events WHERE lane = ?1 AND status = 'waiting'")?
                .query_row([lane_name(lane)], |row| {
                    let waiting = row.get::<_, i64>(0)?.cast_unsigned();
                    Ok(Backlog { waiting, oldest: nanos_moment(row, 1, 1_000_000)? })
                })
        })
        .await
    }
}

const LETTER: &str = "SELECT key, source, event_id, body, attempts, reason, settled_at FROM events
     WHERE status = 'dead'";

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        key: row.get(0)?,
        source: row.get(1)?,
        event_id: row.get(2)?,
        body: row.get(3)?,
        attempts: row.get(4)?,
        reason: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        since: nanos_moment(row, 6, 1_000_000)?.unwrap_or(OffsetDateTime::UNIX_EPOCH),
    })
}

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError> {
        let (group, lane) = Message::place(&letter.body);
        self.write(move |db| {
            let since = millis(letter.since);
            db.prepare_cached(
                "INSERT INTO events (key, subject, source, event_id, body, status, attempts, visible_at, settled_at,
                     reason, arrived_at, lane) VALUES (?1, ?2, ?3, ?4, ?5, 'dead', ?6, ?7, ?7, ?8, ?7, ?9)
                 ON CONFLICT (key) DO UPDATE SET status = 'dead', body = ?5, attempts = ?6, settled_at = ?7, reason = ?8",
            )?
            .execute(params![
                letter.key,
                group,
                letter.source,
                letter.event_id,
                letter.body,
                letter.attempts,
                since,
                letter.reason,
                lane_name(lane),
            ])
            .map(drop)
        })
        .await
    }

    async fn list(&self, limit: u32) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(move |db| {
            let mut statement = db.prepare_cached(&format!("{LETTER} ORDER BY seq LIMIT ?1"))?;
            let letters = statement.query_map([limit], letter)?;
            letters.collect()
        })
        .await
    }

    async fn find(&self, key: &str) -> Result<Option<DeadLetter>, StoreError> {
        let key = key.to_owned();
        self.read(move |db| db.prepare_cached(&format!("{LETTER} AND key = ?1"))?.query_row([key], letter).optional())
            .await
    }

    async fn revive(&self, key: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
        let key = key.to_owned();
        let revived = self
            .write(move |db| {
                db.prepare_cached(
                    "UPDATE events SET status = 'waiting', attempts = 0, visible_at = ?2, arrived_at = ?2,
                         settled_at = NULL, reason = NULL
                     WHERE key = ?1 AND status = 'dead'",
                )?
                .execute(params![key, millis(now)])
            })
            .await?;
        self.arrivals.notify_one();
        Ok(revived == 1)
    }
}

fn subject_key(source: &SourceName, subject: &SubjectId) -> String {
    fingerprint(&[source.as_str(), subject.as_str()])
}

#[async_trait]
impl EventHistory for SqliteStore {
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError> {
        let key = subject_key(source, subject);
        self.read(move |db| Ok(stored(db, &key)?.unwrap_or_default())).await
    }
}

fn stored(db: &Connection, key: &str) -> rusqlite::Result<Option<History>> {
    db.prepare_cached(
        "SELECT flex_user_sid, status_at, status_deactivates, status_id, profile_at, profile_id
         FROM subjects WHERE subject = ?1",
    )?
    .query_row([key], |row| {
        let user: Option<String> = row.get(0)?;
        Ok(History {
            user: user.map(|_| parsed(row, 0)).transpose()?,
            status: match nanos_moment(row, 1, 1)? {
                Some(at) => Some(Moment { at, deactivates: row.get(2)?, id: parsed(row, 3)? }),
                None => None,
            },
            profile: match nanos_moment(row, 4, 1)? {
                Some(at) => Some(Moment { at, deactivates: false, id: parsed(row, 5)? }),
                None => None,
            },
        })
    })
    .optional()
}

fn millis(moment: OffsetDateTime) -> i64 {
    nanos(moment) / 1_000_000
}

/// Returns the time as nanoseconds since 1970. Times after 2262 become the largest `i64`.
fn nanos(moment: OffsetDateTime) -> i64 {
    let nanos = moment.unix_timestamp_nanos().clamp(0, i128::from(i64::MAX));
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

fn nanos_moment(row: &Row<'_>, column: usize, unit: i128) -> rusqlite::Result<Option<OffsetDateTime>> {
    let Some(value) = row.get::<_, Option<i64>>(column)? else { return Ok(None) };
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(value) * unit).map(Some).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Integer, error.into())
    })
}
