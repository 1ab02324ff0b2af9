//! The scheduler, which lets one call continue at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::Request;
use tokio::task::JoinHandle;

use super::choices::{Budget, Choices};
use super::gate::{Gate, Hall, Kind, Verdict, Waiting};
use crate::boundary::Life;
use crate::process::{Function, Reply, Server};
use crate::upkeep;
use crate::world::World;

/// Simulated time advances only when every task waits. So after this pause, each process waits for a timer, or for the
/// scheduler to release its call.
const EVERYBODY_WAITS: Duration = Duration::from_millis(1);
/// How long the scheduler waits to let sleeping processes wake up. The shortest timer ends within this time.
const NAP: Duration = Duration::from_millis(60);
/// The maximum number of steps in a schedule. A longer schedule probably never ends.
const STEPS: usize = 5_000;
/// After this time, the locks and leases of dead processes have expired.
const LOCKS_END: Duration = Duration::from_mins(1);

/// A process that answers one request.
pub(super) struct Actor {
    number: usize,
    server: Server,
    stage: Arc<Stage>,
}

pub(super) struct Stage {
    world: Arc<World>,
    hall: Arc<Hall>,
}

/// One thing that can happen next.
enum Step {
    /// The waiting call with this index continues or fails, as the verdict says.
    Call(usize, Verdict),
    /// Sleeping processes wake up before any waiting call continues.
    Wake,
    /// Time advances so far that every request in progress reaches its deadline.
    TimePasses,
}

impl Actor {
    /// Sends a request to the process. Returns `None` if the process dies or takes too long.
    pub(super) async fn send(&self, what: &str, request: Request<Body>) -> Option<Reply> {
        self.stage.hall.wait(self.number, Kind::Begins, what.to_owned()).await;
        let reply = self.server.answer(request).await;
        let status = reply.as_ref().map_or("no answer".to_owned(), |reply| reply.status.to_string());
        self.stage.world.tell(format!("  {}: {what}: {status}", self.number));
        reply
    }
}

impl Stage {
    pub(super) fn of(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), hall: Arc::default() })
    }

    /// Starts a process of the function.
    pub(super) fn actor(self: &Arc<Self>, number: usize, function: Function) -> Actor {
        let life = Arc::new(Life::default());
        let gate = Arc::new(Gate {
            hall: self.hall.clone(),
            process: number,
            life: life.clone(),
            simulator: self.world.simulator.clone(),
            spy: self.world.spy.clone(),
            loses: AtomicBool::new(false),
        });
        let server = self.world.parts.serve_behind(function, life, gate);
        Actor { number, server, stage: self.clone() }
    }

    /// Runs the acts (the tasks that send requests) in the order that `choices` determines, until all acts have ended
    /// and no call waits.
    pub(super) async fn play(&self, choices: &mut Choices, acts: Vec<BoxFuture<'static, ()>>) {
        let acts: Vec<JoinHandle<()>> = acts.into_iter().map(tokio::spawn).collect();
        let mut last = usize::MAX;
        for _ in 0..STEPS {
            tokio::time::sleep(EVERYBODY_WAITS).await;
            let unfinished = acts.iter().filter(|act| !act.is_finished()).count();
            let step = {
                let waiting = self.hall.waiting();
                if waiting.is_empty() { None } else { Some(pick(&waiting, last, unfinished, choices)) }
            };
            match step {
                None if unfinished == 0 => {
                    self.hall.open();
                    for act in acts {
                        act.await.unwrap();
                    }
                    return;
                }
                None => tokio::time::sleep(NAP).await,
                Some(Step::Wake) => {
                    self.world.tell("  whoever sleeps wakes up");
                    tokio::time::sleep(NAP).await;
                }
                Some(Step::TimePasses) => {
                    self.world.tell("  time passes");
                    tokio::time::advance(LOCKS_END).await;
                }
                Some(Step::Call(index, verdict)) => {
                    let Waiting { process, what, verdict: give, .. } = self.hall.waiting().remove(index);
                    let how = if verdict == Verdict::Goes { String::new() } else { format!(": {verdict:?}") };
                    self.world.tell(format!("  {process} {what}{how}"));
                    last = process;
                    // Sending fails if the process has cancelled the call. A process may cancel its calls, so ignore
                    // the failure.
                    let _gave_up = give.send(verdict);
                }
            }
        }
        self.world.complain("the requests never end");
        self.hall.open();
    }

    /// Waits until locks have expired and the queue is empty. If a request has arrived late at Twilio, also runs a
    /// sweep, because only a sweep finds the effect of such a request.
    pub(super) async fn rest(&self) {
        self.settle().await;
        if self.hall.has_late_requests() {
            self.sweep().await;
        }
    }

    /// Runs a sweep, and then the jobs that it has queued.
    pub(super) async fn sweep(&self) {
        upkeep::sweep(self.world.clone()).await;
        self.settle().await;
    }

    async fn settle(&self) {
        tokio::time::sleep(LOCKS_END).await;
        let queue = self.world.worker();
        if upkeep::waiting(&queue).await == 0 {
            return;
        }
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let consumer = tokio::spawn(upkeep::consume(self.world.clone(), move || until.load(Ordering::Relaxed)));
        crate::run::settle(&self.world, &queue).await;
        over.store(true, Ordering::Relaxed);
        consumer.await.unwrap();
    }
}

/// Chooses the next step from a list of options. Among the calls, those of the current process come first, and late
/// requests come last.
fn pick(waiting: &[Waiting], last: usize, unfinished: usize, choices: &mut Choices) -> Step {
    let is_current = |one: &Waiting| one.process == last;
    let is_late = |one: &Waiting| one.kind == Kind::Arrives;
    let processes: BTreeSet<usize> = waiting.iter().filter(|one| !is_late(one)).map(|one| one.process).collect();
    let can_go_on = waiting.iter().any(is_current);
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|index| (is_late(&waiting[*index]), !is_current(&waiting[*index])));

    let (mut costs, mut steps) = (Vec::new(), Vec::new());
    let mut option = |switches: bool, faults: u32, step: Step| {
        costs.push(Budget { switches: switches.into(), faults });
        steps.push(step);
    };
    if processes.is_empty() && unfinished > 0 {
        option(false, 0, Step::Wake);
    }
    let mut seen = BTreeSet::new();
    for (place, index) in order.into_iter().enumerate() {
        let one = &waiting[index];
        // The budget limits how often a schedule may switch to another call. A call counts as a switch in three cases:
        // * It is a late request, and other requests are unfinished.
        // * It is not the first waiting call of its process.
        // * It belongs to another process, although the current process could continue.
        let switches =
            if is_late(one) { unfinished > 0 } else { place > 0 && (can_go_on || !seen.insert(one.process)) };
        seen.insert(one.process);
        option(switches, 0, Step::Call(index, Verdict::Goes));
        for fault in one.kind.faults() {
            option(switches, 1, Step::Call(index, *fault));
        }
    }
    if !processes.is_empty() && processes.len() < unfinished {
        option(true, 0, Step::Wake);
    }
    // Time may pass only after every late request has arrived, because in reality, a request never arrives so late that
    // its sender's lease has ended.
    if !waiting.iter().any(is_late) {
        option(false, 1, Step::TimePasses);
    }
    steps.swap_remove(choices.pick(&costs))
}
