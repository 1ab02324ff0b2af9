//! Sessions in SQLite.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};
use time::{Duration, OffsetDateTime};

use super::SqliteStore;
use super::values::{moment, parsed};
use crate::domain::{FlexUserSid, ProfileName};
use crate::store::sessions::LONGEST;
use crate::store::{
    Lease, ListedSession, Seat, Seats, Session, SessionKey, SessionList, SessionOrigin, SessionPage, SessionPosition,
    Sessions, StoreError,
};

/// The number of sessions in a page.
const PAGE: usize = 100;

/// The columns of a [`ListedSession`].
const STORED: &str = "
SELECT profile, flex_user_sid, created_at, used_at, ends_at, username, network, browser, idle_seconds, key
FROM sessions AS session";

/// The condition that a session has not ended at the time `?1`.
const LIVE: &str = "
WHERE ends_at > ?1 AND (idle_seconds IS NULL OR used_at + idle_seconds > ?1)
    AND NOT EXISTS (SELECT 1 FROM sign_in_state WHERE ended_at >= session.created_at)
    AND NOT EXISTS (
        SELECT 1 FROM session_seats AS newest
        WHERE newest.flex_user_sid = session.flex_user_sid AND newest.profile = session.profile
            AND newest.is_only AND newest.seat <> coalesce(session.seat, session.key)
    )";

#[async_trait]
impl Sessions for SqliteStore {
    async fn insert(&self, session: Session) -> Result<(), StoreError> {
        self.write(move |db| {
            db.prepare_cached(
                "INSERT INTO sessions (key, profile, flex_user_sid, sealed, version, created_at, used_at, ends_at,
                     seat, username, network, browser, idle_seconds)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                session.key.as_str(),
                session.profile.as_str(),
                session.flex_user_sid.as_str(),
                session.sealed,
                session.version.cast_signed(),
                session.created_at.unix_timestamp(),
                session.used_at.unix_timestamp(),
                session.ends_at.unix_timestamp(),
                session.seat.as_ref().map(SessionKey::as_str),
                session.origin.username,
                session.origin.network,
                session.origin.browser,
                session.origin.idle.map(Duration::whole_seconds),
            ])
            .map(drop)
        })
        .await
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let key = key.clone();
        self.read(move |db| {
            db.prepare_cached(
                "SELECT profile, flex_user_sid, created_at, used_at, ends_at, username, network, browser, idle_seconds,
                     key, sealed, version, seat
                 FROM sessions WHERE key = ?1",
            )?
            .query_row([key.as_str()], session)
            .optional()
        })
        .await
    }

    async fn touch(&self, session: &Session, at: OffsetDateTime) -> Result<(), StoreError> {
        let key = session.key.clone();
        self.write(move |db| {
            db.prepare_cached("UPDATE sessions SET used_at = max(used_at, ?2) WHERE key = ?1")?
                .execute(params![key.as_str(), at.unix_timestamp()])
                .map(drop)
        })
        .await
    }

    async fn lease(
        &self,
        key: &SessionKey,
        version: u64,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Lease, StoreError> {
        let key = key.clone();
        self.write(move |db| {
            let granted = db
                .prepare_cached(
                    "UPDATE sessions SET leased_until = ?4 WHERE key = ?1 AND version = ?2 AND leased_until <= ?3",
                )?
                .execute(params![key.as_str(), version.cast_signed(), now.unix_timestamp(), until.unix_timestamp()])?;
            let lease = if granted == 1 {
                Lease::Granted
            } else {
                let same = db
                    .prepare_cached("SELECT 1 FROM sessions WHERE key = ?1 AND version = ?2")?
                    .exists(params![key.as_str(), version.cast_signed()])?;
                if same { Lease::Held } else { Lease::Moved }
            };
            Ok(lease)
        })
        .await
    }

    async fn release(&self, key: &SessionKey, version: u64, until: OffsetDateTime) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |db| {
            let sql = "UPDATE sessions SET leased_until = 0 WHERE key = ?1 AND version = ?2 AND leased_until = ?3";
            db.prepare_cached(sql)?
                .execute(params![key.as_str(), version.cast_signed(), until.unix_timestamp()])
                .map(drop)
        })
        .await
    }

    async fn refreshed(&self, key: &SessionKey, version: u64, sealed: &str) -> Result<bool, StoreError> {
        let (key, sealed) = (key.clone(), sealed.to_owned());
        self.write(move |db| {
            db.prepare_cached(
                "UPDATE sessions SET sealed = ?3, version = version + 1, leased_until = 0
                 WHERE key = ?1 AND version = ?2",
            )?
            .execute(params![key.as_str(), version.cast_signed(), sealed])
            .map(|changed| changed == 1)
        })
        .await
    }

    async fn end(&self, key: &SessionKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |db| {
            db.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([key.as_str()]).map(drop)
        })
        .await
    }

    async fn end_at(&self, key: &SessionKey, at: OffsetDateTime) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |db| {
            db.prepare_cached("UPDATE sessions SET ends_at = min(ends_at, ?2) WHERE key = ?1")?
                .execute(params![key.as_str(), at.unix_timestamp()])
                .map(drop)
        })
        .await
    }

    async fn end_all_of(&self, user: &FlexUserSid) -> Result<u64, StoreError> {
        let user = user.clone();
        self.write(move |db| {
            db.prepare_cached("DELETE FROM sessions WHERE flex_user_sid = ?1")?
                .execute([user.as_str()])
                .map(|count| count as u64)
        })
        .await
    }

    async fn end_begun_by(&self, user: &FlexUserSid, at: OffsetDateTime) -> Result<Vec<SessionKey>, StoreError> {
        let user = user.clone();
        self.write(move |db| {
            db.prepare_cached("DELETE FROM sessions WHERE flex_user_sid = ?1 AND created_at <= ?2 RETURNING key")?
                .query_map(params![user.as_str(), at.unix_timestamp()], |row| parsed(row, 0))?
                .collect()
        })
        .await
    }

    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError> {
        self.write(move |db| {
            db.prepare_cached("DELETE FROM session_seats WHERE until < ?1")?.execute([now.unix_timestamp()])?;
            db.prepare_cached("DELETE FROM sessions WHERE ends_at < ?1")?
                .execute([now.unix_timestamp()])
                .map(|count| count as u64)
        })
        .await
    }
}

#[async_trait]
impl Seats for SqliteStore {
    async fn take(&self, session: &Session, is_only: bool) -> Result<(), StoreError> {
        let (user, profile, seat) = (session.flex_user_sid.clone(), session.profile.clone(), session.seat().clone());
        let until = session.created_at + LONGEST;
        self.write(move |db| {
            db.prepare_cached(
                "INSERT OR REPLACE INTO session_seats (flex_user_sid, profile, seat, is_only, until)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![user.as_str(), profile.as_str(), seat.as_str(), is_only, until.unix_timestamp()])
            .map(drop)
        })
        .await
    }

    async fn newest(&self, user: &FlexUserSid, profile: &ProfileName) -> Result<Option<Seat>, StoreError> {
        let (user, profile) = (user.clone(), profile.clone());
        self.read(move |db| {
            db.prepare_cached("SELECT seat, is_only FROM session_seats WHERE flex_user_sid = ?1 AND profile = ?2")?
                .query_row([user.as_str(), profile.as_str()], |row| {
                    Ok(Seat { seat: parsed(row, 0)?, is_only: row.get(1)? })
                })
                .optional()
        })
        .await
    }
}

#[async_trait]
impl SessionList for SqliteStore {
    async fn find(&self, key: &SessionKey, now: OffsetDateTime) -> Result<Option<ListedSession>, StoreError> {
        let key = key.clone();
        self.read(move |db| {
            db.prepare_cached(&format!("{STORED} WHERE ends_at > ?1 AND key = ?2"))?
                .query_row(params![now.unix_timestamp(), key.as_str()], listed)
                .optional()
        })
        .await
    }

    async fn of_user(&self, user: &FlexUserSid, now: OffsetDateTime) -> Result<Vec<ListedSession>, StoreError> {
        let user = user.clone();
        self.read(move |db| {
            db.prepare_cached(&format!("{STORED}{LIVE} AND flex_user_sid = ?2 ORDER BY created_at, key"))?
                .query_map(params![now.unix_timestamp(), user.as_str()], listed)?
                .collect()
        })
        .await
    }

    async fn page(&self, after: Option<&SessionPosition>, now: OffsetDateTime) -> Result<SessionPage, StoreError> {
        let after = after.map(|SessionPosition { user, key }| (user.as_str().to_owned(), key.as_str().to_owned()));
        let (user, key) = after.unwrap_or_default();
        self.read(move |db| {
            let sessions: Vec<_> = db
                .prepare_cached(&format!(
                    "{STORED}{LIVE} AND (flex_user_sid, key) > (?2, ?3) ORDER BY flex_user_sid, key LIMIT {PAGE}"
                ))?
                .query_map(params![now.unix_timestamp(), user, key], listed)?
                .collect::<rusqlite::Result<_>>()?;
            let last: Option<&ListedSession> = sessions.get(PAGE - 1);
            let next = last.map(|last| SessionPosition { user: last.flex_user_sid.clone(), key: last.key.clone() });
            Ok(SessionPage { sessions, next })
        })
        .await
    }
}

fn listed(row: &Row<'_>) -> rusqlite::Result<ListedSession> {
    Ok(ListedSession {
        key: parsed(row, 9)?,
        profile: parsed(row, 0)?,
        flex_user_sid: parsed(row, 1)?,
        created_at: moment(row, 2)?,
        used_at: moment(row, 3)?,
        ends_at: moment(row, 4)?,
        origin: SessionOrigin {
            username: row.get(5)?,
            network: row.get(6)?,
            browser: row.get(7)?,
            idle: row.get::<_, Option<i64>>(8)?.map(Duration::seconds),
        },
    })
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let seat: Option<String> = row.get(12)?;
    let ListedSession { key, profile, flex_user_sid, created_at, used_at, ends_at, origin } = listed(row)?;
    Ok(Session {
        key,
        profile,
        flex_user_sid,
        sealed: row.get(10)?,
        version: row.get::<_, i64>(11)?.cast_unsigned(),
        created_at,
        used_at,
        ends_at,
        seat: if seat.is_some() { Some(parsed(row, 12)?) } else { None },
        origin,
    })
}
