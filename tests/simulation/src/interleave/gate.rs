//! The gate at which a process waits before each call to the store or to Twilio.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use flexgate::base::outbound::{Answer, SendError, Transport};
use flexgate::store::{StoreError, StoreFaults};
use flexgate_simulator::InProcess;
use tokio::sync::oneshot;

use crate::boundary::{Life, perform};
use crate::spy::Spy;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The call succeeds.
    Goes,
    /// The call fails, and has no effect.
    Fails,
    /// The call has its effect, but its answer is lost.
    Loses,
    /// The process stops waiting for the answer at once, and the request arrives at Twilio later.
    Lingers,
    /// The process dies before the call.
    Dies,
}

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Begins,
    ReadsStore,
    WritesStore,
    ReadsTwilio,
    WritesTwilio,
    /// A request arrives at Twilio after its sender has stopped waiting for the answer ([`Verdict::Lingers`]).
    Arrives,
}

impl Kind {
    /// The faults that can happen to a call of this kind. Reads have none. A failed read changes neither the store nor
    /// Twilio, and neither does a write with [`Verdict::Fails`], which other runs test.
    pub(super) fn faults(self) -> &'static [Verdict] {
        match self {
            Self::Begins | Self::ReadsStore | Self::ReadsTwilio | Self::Arrives => &[],
            Self::WritesStore => &[Verdict::Fails, Verdict::Loses, Verdict::Dies],
            Self::WritesTwilio => &[Verdict::Fails, Verdict::Loses, Verdict::Lingers, Verdict::Dies],
        }
    }
}

/// A call that waits.
pub(super) struct Waiting {
    pub(super) process: usize,
    pub(super) kind: Kind,
    pub(super) what: String,
    pub(super) verdict: oneshot::Sender<Verdict>,
}

/// Where calls wait.
#[derive(Default)]
pub(super) struct Hall {
    waiting: Mutex<Vec<Waiting>>,
    is_open: AtomicBool,
    has_late_requests: AtomicBool,
}

impl Hall {
    /// Returns the waiting calls, sorted by process, without calls that their process has cancelled.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|one| !one.verdict.is_closed());
        waiting.sort_by_key(|one| one.process);
        waiting
    }

    /// Lets every waiting call continue. From now on, no call waits.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
        self.waiting().clear();
    }

    /// Whether there was a late request: its sender stopped waiting for the answer before the request arrived at
    /// Twilio.
    pub(super) fn has_late_requests(&self) -> bool {
        self.has_late_requests.load(Ordering::Relaxed)
    }

    pub(super) async fn wait(&self, process: usize, kind: Kind, what: String) -> Verdict {
        if self.is_open.load(Ordering::Relaxed) {
            return Verdict::Goes;
        }
        let (verdict, given) = oneshot::channel();
        self.waiting().push(Waiting { process, kind, what, verdict });
        given.await.unwrap_or(Verdict::Goes)
    }
}

/// The gate of one process.
pub(super) struct Gate {
    pub(super) hall: Arc<Hall>,
    pub(super) process: usize,
    pub(super) life: Arc<Life>,
    pub(super) simulator: InProcess,
    pub(super) spy: Arc<Spy>,
    /// Whether the answer to the store's current operation is lost.
    pub(super) loses: AtomicBool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Gate {
    async fn wait(&self, kind: Kind, what: String) -> Verdict {
        self.life.cross().await;
        let verdict = self.hall.wait(self.process, kind, what).await;
        if verdict == Verdict::Dies {
            self.life.doom(1);
        }
        self.life.cross().await;
        verdict
    }
}

#[async_trait]
impl StoreFaults for Gate {
    async fn before(&self, writes: bool) -> Result<(), StoreError> {
        let (kind, what) = if writes { (Kind::WritesStore, "writes") } else { (Kind::ReadsStore, "reads") };
        let verdict = self.wait(kind, format!("{what} the store")).await;
        self.loses.store(verdict == Verdict::Loses, Ordering::Relaxed);
        if verdict == Verdict::Fails {
            return Err(StoreError::Unavailable("the store is away".into()));
        }
        Ok(())
    }

    /// Does not wait at the gate, because nothing can happen between the store's operation and this call.
    async fn after(&self, _writes: bool) -> Result<(), StoreError> {
        if self.loses.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the store's answer was lost".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Transport for Gate {
    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SendError> {
        let broken = || SendError::Broken("the answer was lost".into());
        let path = request.url().path();
        // Requests to the identity provider only read its keys, which do not change. So they need not wait at the gate.
        let is_shared = !path.starts_with("/idp/");
        let kind = if request.method() == http::Method::GET { Kind::ReadsTwilio } else { Kind::WritesTwilio };
        let what = format!("sends {} {path}", request.method());
        let verdict = if is_shared { self.wait(kind, what.clone()).await } else { Verdict::Goes };
        let (simulator, spy) = (self.simulator.clone(), self.spy.clone());
        match verdict {
            Verdict::Fails => return Err(SendError::Connect("cannot connect".into())),
            Verdict::Lingers => {
                let (hall, process) = (self.hall.clone(), self.process + LATE);
                hall.has_late_requests.store(true, Ordering::Relaxed);
                tokio::spawn(async move {
                    hall.wait(process, Kind::Arrives, what).await;
                    perform(&simulator, &spy, &request).await;
                });
                return Err(broken());
            }
            Verdict::Goes | Verdict::Loses | Verdict::Dies => {}
        }
        let answer = perform(&simulator, &spy, &request).await.ok_or_else(broken)?;
        if verdict == Verdict::Loses { Err(broken()) } else { Ok(answer) }
    }
}

/// The process number of a late request is the number of its sender plus this offset.
const LATE: usize = 100;
