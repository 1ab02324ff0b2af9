//! The thread that owns the SQLite connection.
//!
//! Waiting writes with the same durability share one transaction, so sixteen writes need one fsync instead of sixteen.
//! A caller gets its answer once its write is as durable as requested. If a job fails, only its own changes are rolled
//! back.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::{Connection, Error, Result};
use tokio::sync::oneshot;

use super::values::failure;
use crate::store::StoreError;

/// How durable a job's writes must be before the caller gets an answer. Writes with [`Keep::Soon`] survive a crash of
/// the process, but not always a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The job writes nothing.
    Nothing,
    Soon,
    AtOnce,
}

/// A job that runs on the connection. This trait hides the type of the job's result.
trait Job: Send {
    /// Runs the job, unless it has run already. Returns whether it succeeded. A transaction is committed only if at
    /// least one of its jobs succeeds.
    fn run(&mut self, db: &Connection, alone: bool) -> bool;
    fn tell(self: Box<Self>, kept: &std::result::Result<(), Arc<Error>>);
}

struct Asked<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    told: oneshot::Sender<std::result::Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Job for Asked<T, F> {
    fn run(&mut self, db: &Connection, alone: bool) -> bool {
        if let Some(work) = self.work.take() {
            self.result = if alone { caught(db, work) } else { apart(db, work) };
        }
        matches!(self.result, Some(Ok(_)))
    }

    fn tell(self: Box<Self>, kept: &std::result::Result<(), Arc<Error>>) {
        let answer = match (self.result, kept) {
            // If both the job and the commit failed, report the job's error, because it is more specific.
            (Some(Err(error)), _) => Err(failure(error)),
            (_, Err(error)) => Err(StoreError::Unavailable(Box::new(error.clone()))),
            (Some(Ok(result)), Ok(())) => Ok(result),
            // The job has panicked, so it sends no answer. Its channel closes, and the caller gets an error.
            (None, Ok(())) => return,
        };
        let _nobody_waits = self.told.send(answer);
    }
}

/// Runs `work`. Returns `None` if it panics.
fn caught<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Option<Result<T>> {
    catch_unwind(AssertUnwindSafe(|| work(db))).ok()
}

/// Runs `work` in a savepoint, and rolls its changes back if it fails.
fn apart<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Option<Result<T>> {
    if let Err(error) = plain(db, "SAVEPOINT job") {
        return Some(Err(error));
    }
    let done = caught(db, work);
    let undone = if matches!(done, Some(Ok(_))) { Ok(()) } else { plain(db, "ROLLBACK TO job") };
    match undone.and_then(|()| plain(db, "RELEASE job")) {
        Ok(()) => done,
        Err(error) => Some(Err(error)),
    }
}

/// Executes an SQL statement. Caches the parsed statement, so that SQLite parses it only once.
fn plain(db: &Connection, sql: &str) -> Result<()> {
    db.prepare_cached(sql)?.execute([]).map(drop)
}

type Jobs = Vec<(Keep, Box<dyn Job>)>;

/// The jobs that have not started yet. Unlike a channel, this queue wakes the thread only if it was empty before. The
/// thread then takes all jobs at once.
struct Waiting {
    desk: Mutex<Desk>,
    arrived: Condvar,
}

struct Desk {
    jobs: Jobs,
    open: bool,
}

impl Waiting {
    fn new() -> Self {
        Self { desk: Mutex::new(Desk { jobs: Vec::new(), open: true }), arrived: Condvar::new() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job. A closed queue drops the job, and the job's caller gets an error.
    fn add(&self, keep: Keep, job: Box<dyn Job>) {
        let mut desk = self.desk();
        if desk.open {
            desk.jobs.push((keep, job));
            let first = desk.jobs.len() == 1;
            drop(desk);
            if first {
                self.arrived.notify_one();
            }
        }
    }

    /// Waits for at least one job, and takes all jobs in the queue. Returns `None` once the queue is closed and
    /// empty.
    fn take(&self) -> Option<Jobs> {
        let idle = |desk: &mut Desk| desk.jobs.is_empty() && desk.open;
        let mut desk = self.arrived.wait_while(self.desk(), idle).unwrap_or_else(PoisonError::into_inner);
        let jobs = std::mem::take(&mut desk.jobs);
        if jobs.is_empty() { None } else { Some(jobs) }
    }

    /// Closes the queue to new jobs. Jobs in the queue still run.
    fn close(&self) {
        self.desk().open = false;
        self.arrived.notify_one();
    }
}

/// The thread and its queue of jobs. Dropping this value waits until the thread has closed the file.
pub(super) struct Worker {
    waiting: Arc<Waiting>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let waiting = Arc::new(Waiting::new());
        let file = File { connection, synced: Keep::Nothing, waiting: Arc::clone(&waiting) };
        let thread = Builder::new().name("store".to_owned()).spawn(move || file.serve())?;
        Ok(Self { waiting, thread: Some(thread) })
    }

    /// Runs `work` on the thread. Returns the result once the writes are as durable as `keep` requires.
    pub(super) async fn ask<T, F>(&self, keep: Keep, work: F) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.waiting.add(keep, Box::new(Asked { work: Some(work), result: None, told: tell }));
        told.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into())))
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.waiting.close();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The open file. The thread owns this value.
struct File {
    connection: Connection,
    /// The durability that SQLite's `synchronous` setting provides now.
    synced: Keep,
    waiting: Arc<Waiting>,
}

impl Drop for File {
    /// Drops the waiting jobs, so that their callers get an error instead of waiting forever.
    fn drop(&mut self) {
        self.waiting.close();
        let _dropped = self.waiting.take();
    }
}

impl File {
    fn serve(mut self) {
        while let Some(jobs) = self.waiting.take() {
            let (mut reads, mut soon, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
            for (keep, job) in jobs {
                let group = match keep {
                    Keep::Nothing => &mut reads,
                    Keep::Soon => &mut soon,
                    Keep::AtOnce => &mut at_once,
                };
                group.push(job);
            }
            // Reads share a transaction with the writes that have [`Keep::Soon`], because neither of them waits for an fsync.
            self.round(reads, Keep::Soon, soon);
            self.round(Vec::new(), Keep::AtOnce, at_once);
        }
    }

    /// Runs these jobs, and answers all of them at the end. So a caller that waits for two of these jobs is woken
    /// only once.
    fn round(&mut self, mut reads: Vec<Box<dyn Job>>, keep: Keep, mut writes: Vec<Box<dyn Job>>) {
        let kept =
            if writes.is_empty() { Ok(()) } else { self.commit(&mut reads, keep, &mut writes).map_err(Arc::new) };
        if writes.is_empty() || kept.is_err() {
            self.read(&mut reads);
        }
        for read in reads {
            read.tell(&Ok(()));
        }
        for write in writes {
            write.tell(&kept);
        }
    }

    /// Runs the reads that have not run yet, in one transaction. A read may consist of several queries. Without a
    /// transaction, another process could write between two queries.
    fn read(&self, reads: &mut [Box<dyn Job>]) {
        let db = &self.connection;
        if reads.is_empty() {
            return;
        }
        let begun = plain(db, "BEGIN DEFERRED");
        for read in reads {
            read.run(db, true);
        }
        if begun.is_ok() && !db.is_autocommit() && plain(db, "COMMIT").is_err() {
            // The transaction has written nothing, so nothing is lost.
            let _ended = plain(db, "ROLLBACK");
        }
    }

    fn commit(&mut self, reads: &mut [Box<dyn Job>], keep: Keep, writes: &mut [Box<dyn Job>]) -> Result<()> {
        if self.synced != keep {
            let level = if keep == Keep::AtOnce { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.synced = keep;
        }
        let db = &self.connection;
        plain(db, "BEGIN IMMEDIATE")?;
        for read in reads {
            read.run(db, true);
        }
        let alone = writes.len() == 1;
        let mut any = false;
        for write in writes {
            // A disk error may have ended the transaction early. Without a transaction, SQLite would commit each
            // remaining write, although the caller of the write gets an error. So no further write runs.
            if db.is_autocommit() {
                break;
            }
            any |= write.run(db, alone);
        }
        let done = if any || db.is_autocommit() { plain(db, "COMMIT") } else { Ok(()) };
        // The transaction is still open if no write succeeded, or if the commit failed without ending the transaction.
        if !db.is_autocommit() {
            plain(db, "ROLLBACK")?;
        }
        done
    }
}

#[cfg(test)]
mod tests;
