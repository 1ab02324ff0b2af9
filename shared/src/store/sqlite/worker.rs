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

/// Whether whoever wrote waits for the disk. A killed process loses neither; a machine that loses power
/// may lose the last seconds of the second kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    fn run(&mut self, db: &Connection);
    fn tell(self: Box<Self>, written: &std::result::Result<(), Arc<rusqlite::Error>>);
}

struct Wish<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    told: oneshot::Sender<std::result::Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T> + Send> Write for Wish<T, F> {
    fn run(&mut self, db: &Connection) {
        self.result = self.work.take().and_then(|work| alone(db, work));
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

/// What `work` does inside the transaction, or nothing of it. `None` if it panics.
fn alone<T>(db: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Option<Result<T>> {
    let plain = |sql| db.prepare_cached(sql)?.execute([]).map(drop);
    if let Err(error) = plain("SAVEPOINT job") {
        return Some(Err(error));
    }
    let done = catch_unwind(AssertUnwindSafe(|| work(db))).ok();
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
            if let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(db))) {
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
        let (mut wishes, mut kept) = (Vec::new(), Kept::Soon);
        for job in std::iter::once(first).chain(arriving.try_iter().take(ROUND - 1)) {
            match job {
                Job::Read(read) => read(&connection),
                Job::Write(wanted, wish) => {
                    kept = kept.max(wanted);
                    wishes.push(wish);
                }
            }
        }
        if !wishes.is_empty() {
            let written = together(&mut connection, kept, &mut wishes).map_err(Arc::new);
            wishes.into_iter().for_each(|wish| wish.tell(&written));
        }
    }
}

fn together(connection: &mut Connection, kept: Kept, wishes: &mut [Box<dyn Write>]) -> Result<()> {
    connection.execute_batch(match kept {
        Kept::Soon => "PRAGMA synchronous = NORMAL",
        Kept::AtOnce => "PRAGMA synchronous = FULL",
    })?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    wishes.iter_mut().for_each(|wish| wish.run(&transaction));
    transaction.commit()
}
