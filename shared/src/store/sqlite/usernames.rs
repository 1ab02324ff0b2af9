//! The username index in SQLite.

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};
use time::OffsetDateTime;

use super::SqliteStore;
use super::values::parsed;
use crate::domain::{FlexUserSid, UsernameKey};
use crate::store::{SeenUser, StoreError, UsernameIndex, fingerprint};

#[async_trait]
impl UsernameIndex for SqliteStore {
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError> {
        let seen = seen.to_vec();
        self.write(move |db| {
            let mut put = db.prepare_cached(
                "INSERT INTO seen_users (username_key, flex_user_sid, username, active, seen_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (username_key, flex_user_sid) DO UPDATE
                 SET username = ?3, active = ?4, seen_at = ?5 WHERE seen_at <= ?5",
            )?;
            for user in &seen {
                let sid = user.flex_user_sid.as_str();
                put.execute(params![row_key(&user.key), sid, user.username.as_str(), user.active, nanos(at)])?;
            }
            Ok(())
        })
        .await
    }

    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError> {
        let key = key.clone();
        self.read(move |db| {
            // A slow sweep can write a user after a faster sweep has found that the user no longer exists. So this
            // query checks `seen_at`, although `finish_walk` deletes old rows.
            let mut query = db.prepare_cached(
                "SELECT username, flex_user_sid, active FROM seen_users
                 WHERE username_key = ?1 AND seen_at >= coalesce((SELECT began FROM last_walk), seen_at)
                 ORDER BY active DESC, flex_user_sid",
            )?;
            let seen = query.query_map([row_key(&key)], |row| {
                let (username, flex_user_sid): (_, FlexUserSid) = (parsed(row, 0)?, parsed(row, 1)?);
                Ok(SeenUser { key: key.clone(), username, flex_user_sid, active: row.get(2)? })
            })?;
            seen.collect()
        })
        .await
    }

    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError> {
        self.write(move |db| {
            db.prepare_cached(
                "INSERT INTO last_walk (only_row, began) VALUES (1, ?1)
                 ON CONFLICT (only_row) DO UPDATE SET began = max(began, ?1)",
            )?
            .execute([nanos(began)])?;
            db.prepare_cached("DELETE FROM seen_users WHERE seen_at < ?1")?.execute([nanos(began)]).map(drop)
        })
        .await
    }

    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        self.read(last_walk).await
    }
}

fn last_walk(db: &Connection) -> rusqlite::Result<Option<OffsetDateTime>> {
    let began: Option<i64> =
        db.prepare_cached("SELECT began FROM last_walk")?.query_row([], |row| row.get(0)).optional()?;
    let moment = |began: i64| {
        OffsetDateTime::from_unix_timestamp_nanos(began.into())
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, error.into()))
    };
    began.map(moment).transpose()
}

/// Returns the key of a row. The key is a digest, so it does not reveal the username.
fn row_key(key: &UsernameKey) -> String {
    fingerprint(&[key.as_str()])
}

/// Returns the time in nanoseconds, because the index must know the order of two changes even if both happen in the
/// same millisecond.
fn nanos(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}
