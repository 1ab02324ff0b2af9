//! The store in one SQLite file, for the local gateway and for single machines.
//!
//! Several processes can share the file, which is in WAL mode. Every writing transaction takes the write lock at its
//! start, and waits for it if necessary. Every write is on disk before it is acknowledged, except for the counters and
//! the return addresses of pending logins.

mod activity;
mod claim_tables;
mod counters;
mod event_tables;
mod events;
#[cfg(feature = "simulation")]
mod inline;
mod logins;
mod note_tables;
mod once_only;
mod opening;
mod people;
mod people_tables;
mod scim;
mod scim_tables;
mod session_endings;
mod session_tables;
mod sessions;
mod sign_in_state;
mod username_tables;
mod usernames;
mod values;
mod worker;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::{Bindings, Bound, StoreError, fingerprint};
use crate::domain::{FlexUserSid, Identity};
#[cfg(feature = "simulation")]
pub use inline::{Database, StoreFaults};
use opening::{make_private, prepared};
use values::{failure, parsed};
use worker::{Keep, Worker};

/// The store in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    jobs: Arc<Jobs>,
    /// Wakes this process's consumer when another part of this process queues events.
    arrivals: Arc<Notify>,
}

/// Where the store's jobs run.
#[derive(Debug)]
enum Jobs {
    OnThread(Worker),
    #[cfg(feature = "simulation")]
    Inline(inline::Inline),
}

impl Jobs {
    async fn ask<T, F>(&self, keep: Keep, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        match self {
            Self::OnThread(worker) => worker.ask(keep, work).await,
            #[cfg(feature = "simulation")]
            Self::Inline(inline) => inline.ask(keep != Keep::Nothing, work).await,
        }
    }
}

#[cfg(feature = "simulation")]
impl Database {
    /// Makes an empty database.
    pub fn new() -> Result<Self, StoreError> {
        Ok(Self::over(prepared(Connection::open_in_memory().map_err(failure)?)?))
    }
}

impl SqliteStore {
    /// Opens the file. Creates the file and its tables if they are missing.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|error| StoreError::Unavailable(error.into()))?;
        let connection = prepared(Connection::open(path).map_err(failure)?)?;
        let worker = Worker::start(connection).map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(Self { jobs: Arc::new(Jobs::OnThread(worker)), arrivals: Arc::default() })
    }

    /// Uses a database in memory. Reads and writes run on the caller's thread, and `faults` decides which of them fail.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn inline(database: &Database, faults: Arc<dyn StoreFaults>) -> Self {
        let jobs = Jobs::Inline(inline::Inline::new(database.clone(), faults));
        Self { jobs: Arc::new(jobs), arrivals: Arc::default() }
    }

    /// Runs `work`, which must only read, and returns its result.
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.jobs.ask(Keep::Nothing, work).await
    }

    /// Runs `work` in a transaction that has the write lock. Returns the result once the writes are on disk.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.jobs.ask(Keep::AtOnce, work).await
    }
}

#[async_trait]
impl Bindings for SqliteStore {
    async fn user_of(&self, identity: &Identity) -> Result<Option<FlexUserSid>, StoreError> {
        let identity = identity_key(identity);
        self.read(move |db| {
            db.prepare_cached("SELECT flex_user_sid FROM bindings WHERE identity = ?1")?
                .query_row([identity], |row| parsed(row, 0))
                .optional()
        })
        .await
    }

    async fn bind(&self, identity: &Identity, user: &FlexUserSid, now: OffsetDateTime) -> Result<Bound, StoreError> {
        let (identity, user) = (identity_key(identity), user.clone());
        self.write(move |db| {
            let bound: Option<FlexUserSid> = db
                .prepare_cached("SELECT flex_user_sid FROM bindings WHERE identity = ?1")?
                .query_row([&identity], |row| parsed(row, 0))
                .optional()?;
            if let Some(bound) = bound {
                return Ok(if bound == user { Bound::Yes } else { Bound::IdentityTaken(bound) });
            }
            let inserted = db
                .prepare_cached(
                    "INSERT OR IGNORE INTO bindings (identity, flex_user_sid, bound_at) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![identity, user.as_str(), now.unix_timestamp()])?;
            Ok(if inserted == 1 { Bound::Yes } else { Bound::UserTaken })
        })
        .await
    }

    async fn unbind_identity(&self, identity: &Identity, user: &FlexUserSid) -> Result<(), StoreError> {
        let (identity, user) = (identity_key(identity), user.clone());
        self.write(move |db| {
            db.prepare_cached("DELETE FROM bindings WHERE identity = ?1 AND flex_user_sid = ?2")?
                .execute([identity.as_str(), user.as_str()])
                .map(drop)
        })
        .await
    }

    async fn unbind(&self, user: &FlexUserSid) -> Result<(), StoreError> {
        let user = user.clone();
        self.write(move |db| {
            db.prepare_cached("DELETE FROM bindings WHERE flex_user_sid = ?1")?.execute([user.as_str()]).map(drop)
        })
        .await
    }
}

fn identity_key(identity: &Identity) -> String {
    fingerprint(&[&identity.issuer, &identity.subject])
}
