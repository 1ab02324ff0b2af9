//! The thread that has the connection.
//!
//! Reads are answered at once. Writes that come in while the disk is waited for are the next
//! transaction, all of them together: sixteen at once cost one wait, not sixteen. Nobody is answered
//! before what they wrote is kept as they asked, and what fails for one of them is undone for that one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::{Connection, Result, TransactionBehavior};
use tokio::sync::oneshot;

use super::failure;
use crate::store::StoreError;

/// When what was written is on disk. A process that is killed loses nothing either way; a machine that
/// loses power may lose what was to be kept soon.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    Soon,
    AtOnce,
}

/// As many jobs as one round takes: nobody waits long, and other processes come to the file as well.
const ROUND: usize = 128;

type Read = Box<dyn FnOnce(&Connection) + Send>;

enum Job {
    Read(Read),
    Write(Kept, Box<dyn Write>),
}

/// A wish to write, of whatever result.
trait Write: Send {
    /// Whether there is something to commit.
    fn run(&mut self, db: &Connection, alone: bool) -> bool;
    fn tell(self: Box<Self>, written: &std::result::Result<(), Arc<rusqlite::Error>>);
}

struct Wish<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    told: oneshot::Sender<std::result::Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Write for Wish<T, F> {
    fn run(&mut self, db: &Connection, alone: bool) -> bool {
        let run = |work: F| if alone { caught(db, work) } else { apart(db, work) };
        self.result = self.work.take().and_then(run);
        matches!(self.result, Some(Ok(_)))
    }

    fn tell(self: Box<Self>, written: &std::result::Result<(), Arc<rusqlite::Error>>) {
        let answer = match (written, self.result) {
            (Ok(()), Some(result)) => result.map_err(failure),
            (Err(error), _) => Err(StoreError::Unavailable(Box::new(error.clone()))),
            // It panicked; whoever asked learns it from there being no answer.
            (Ok(()), None) => return,
        };
        let _nobody_waits = self.told.send(answer);
    }
}

/// What `work` does. `None` if it panics.
fn caught<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Option<Result<T>> {
    catch_unwind(AssertUnwindSafe(|| work(db))).ok()
}

/// What `work` does, or, where it fails, nothing of it.
fn apart<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Option<Result<T>> {
    let plain = |sql| db.prepare_cached(sql)?.execute([]).map(drop);
    if let Err(error) = plain("SAVEPOINT job") {
        return Some(Err(error));
    }
    let done = caught(db, work);
    let undone = if matches!(done, Some(Ok(_))) { Ok(()) } else { plain("ROLLBACK TO job") };
    match undone.and_then(|()| plain("RELEASE job")) {
        Ok(()) => done,
        Err(error) => Some(Err(error)),
    }
}

/// The thread, and the way to it. Dropping it waits until the file is closed.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (jobs, arriving) = channel();
        let thread = Builder::new().name("store".to_owned()).spawn(move || serve(connection, &arriving))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// What `work` reads.
    pub(super) async fn read<T, F>(&self, work: F) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let read = move |db: &Connection| {
            if let Some(result) = caught(db, work) {
                let _nobody_waits = tell.send(result.map_err(failure));
            }
        };
        self.send(Job::Read(Box::new(read)));
        told.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into())))
    }

    /// What `work` returns, once what it wrote is kept.
    pub(super) async fn write<T, F>(&self, kept: Kept, work: F) -> std::result::Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.send(Job::Write(kept, Box::new(Wish { work: Some(work), result: None, told: tell })));
        told.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into())))
    }

    /// Were the thread gone, the job would be dropped, and whoever waits for it told.
    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _gone = jobs.send(job);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn serve(mut connection: Connection, arriving: &Receiver<Job>) {
    while let Ok(first) = arriving.recv() {
        let (mut reads, mut soon, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
        for job in std::iter::once(first).chain(arriving.try_iter().take(ROUND - 1)) {
            match job {
                Job::Read(read) => reads.push(read),
                Job::Write(Kept::Soon, wish) => soon.push(wish),
                Job::Write(Kept::AtOnce, wish) => at_once.push(wish),
            }
        }
        // Whoever reads does not wait for the disk.
        write(&mut connection, "NORMAL", soon);
        for read in reads {
            read(&connection);
        }
        write(&mut connection, "FULL", at_once);
    }
}

fn write(connection: &mut Connection, synchronous: &str, mut wishes: Vec<Box<dyn Write>>) {
    if !wishes.is_empty() {
        let written = together(connection, synchronous, &mut wishes).map_err(Arc::new);
        for wish in wishes {
            wish.tell(&written);
        }
    }
}

fn together(connection: &mut Connection, synchronous: &str, wishes: &mut [Box<dyn Write>]) -> Result<()> {
    connection.prepare_cached(&format!("PRAGMA synchronous = {synchronous}"))?.execute([])?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let alone = wishes.len() == 1;
    let mut any = false;
    for wish in wishes {
        any |= wish.run(&transaction, alone);
    }
    if any { transaction.commit() } else { transaction.rollback() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(schema: &str) -> Worker {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema).unwrap();
        Worker::start(connection).unwrap()
    }

    /// Keeps the thread busy until all of the next round have come.
    async fn pile_up(worker: &Worker) {
        let slow = |_: &Connection| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            Ok(())
        };
        worker.read(slow).await.unwrap();
    }

    async fn numbers(worker: &Worker) -> Vec<i64> {
        let read = |db: &Connection| {
            db.prepare("SELECT n FROM numbers ORDER BY n")?.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>>>()
        };
        worker.read(read).await.unwrap()
    }

    #[tokio::test]
    async fn what_fails_is_undone_alone() {
        let worker = worker("CREATE TABLE numbers (n INTEGER PRIMARY KEY)");
        let insert = |n: i64| worker.write(Kept::AtOnce, move |db| db.execute("INSERT INTO numbers VALUES (?1)", [n]));
        let half = |db: &Connection| {
            db.execute("INSERT INTO numbers VALUES (3)", [])?;
            db.execute("INSERT INTO numbers VALUES (1)", [])
        };
        let broken = |db: &Connection| -> Result<()> {
            db.execute("INSERT INTO numbers VALUES (4)", [])?;
            panic!("this job is broken")
        };
        let ((), one, failed, panicked, two) = tokio::join!(
            pile_up(&worker),
            insert(1),
            worker.write(Kept::AtOnce, half),
            worker.write(Kept::AtOnce, broken),
            insert(2)
        );
        assert!(one.is_ok() && two.is_ok());
        assert!(failed.is_err() && panicked.is_err());
        assert_eq!(numbers(&worker).await, [1, 2]);
        // Alone, in a transaction of their own, they leave nothing either.
        assert!(worker.write(Kept::Soon, half).await.is_err());
        assert!(worker.write(Kept::AtOnce, broken).await.is_err());
        assert_eq!(numbers(&worker).await, [1, 2]);
    }

    #[tokio::test]
    async fn nobody_is_told_of_a_write_that_is_not_committed() {
        let worker = worker(
            "PRAGMA foreign_keys = ON;
             CREATE TABLE numbers (n INTEGER PRIMARY KEY, of INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)",
        );
        // Only the commit finds that nobody is number 7.
        let insert = |n: i64, of: Option<i64>| {
            worker.write(Kept::AtOnce, move |db| db.execute("INSERT INTO numbers VALUES (?1, ?2)", (n, of)))
        };
        let ((), sound, dangling) = tokio::join!(pile_up(&worker), insert(1, None), insert(2, Some(7)));
        assert!(matches!(sound, Err(StoreError::Unavailable(_))) && dangling.is_err());
        assert_eq!(numbers(&worker).await, [0; 0]);
    }
}
