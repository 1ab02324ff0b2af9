//! Runs the store's jobs on the caller's thread, for the simulation tests (`tests/simulation`). In these tests, time is
//! simulated: whenever Tokio's runtime is idle, Tokio moves the time forward. If a job ran on another thread, the
//! runtime would be idle during the job, and the time would jump.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::values::failure;
use crate::store::StoreError;

/// Injects faults into a store's jobs.
#[async_trait]
pub trait StoreFaults: fmt::Debug + Send + Sync {
    /// Called before a job. If this call returns an error, the job does not run, and the error is its result.
    async fn before(&self, writes: bool) -> std::result::Result<(), StoreError>;

    /// Called after a job that succeeded. If this call returns an error, the error replaces the job's result, as if the
    /// answer were lost.
    async fn after(&self, writes: bool) -> std::result::Result<(), StoreError>;
}

/// A database in memory. All clones share the same data.
#[derive(Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn over(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns every stored string and blob as text, ordered by table and row. The simulation tests check that no
    /// secret is among them.
    pub fn texts(&self) -> std::result::Result<Vec<String>, StoreError> {
        let connection = self.connection();
        let read = || -> Result<Vec<String>> {
            let mut names = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
            let names = names.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>>>()?;
            let mut texts = Vec::new();
            for name in names {
                let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\""))?;
                let columns = statement.column_count();
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    for column in 0..columns {
                        if let ValueRef::Text(text) | ValueRef::Blob(text) = row.get_ref(column)? {
                            texts.push(String::from_utf8_lossy(text).into_owned());
                        }
                    }
                }
            }
            Ok(texts)
        };
        read().map_err(failure)
    }
}

/// The database, and the faults that one simulated process meets.
#[derive(Debug)]
pub(super) struct Inline {
    database: Database,
    faults: Arc<dyn StoreFaults>,
}

impl Inline {
    pub(super) fn new(database: Database, faults: Arc<dyn StoreFaults>) -> Self {
        Self { database, faults }
    }

    pub(super) async fn ask<T, F>(&self, writes: bool, work: F) -> std::result::Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T>,
    {
        self.faults.before(writes).await?;
        let result = self.run(writes, work).map_err(failure)?;
        self.faults.after(writes).await?;
        Ok(result)
    }

    /// Runs a writing job in a transaction of its own, as the worker thread does.
    fn run<T>(&self, writes: bool, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.database.connection();
        if !writes {
            return work(&connection);
        }
        let transaction = connection.transaction()?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}
