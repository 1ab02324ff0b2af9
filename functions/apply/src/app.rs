//! Handles one message. Lambda and the local gateway run the same code.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::domain::IdentityEvent;
use flexgate::platform::Platform;
use flexgate::store::{DeadLetters, Message, Note, Noted, Notes, SqsQueue};
use flexgate::telemetry::{self, RequestId};
use flexgate::users::Provisioning;
use flexgate::users::ledger::{Ledger, LedgerError};
use futures_util::FutureExt as _;

use crate::events::EventApplier;
use crate::graph::{Graph, GraphError};
use crate::jobs::{Ending, Jobs};
use crate::lines::{Try, strange};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::tries::Tries;

/// The time limit for handling one message. The queue must reserve a message for its consumer for longer than this.
pub const EVENT_TIME: Duration = Duration::from_secs(20);

/// The longest pause between two attempts to handle a message.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// What handling a message needs.
#[derive(Debug)]
pub struct App {
    applier: EventApplier,
    signals: Signals,
    jobs: Jobs,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    notes: Arc<dyn Notes>,
    graph: Option<Graph>,
    pub(crate) tries: Tries,
    /// The SQS queue that failed messages go back to. `None` if the queue is in the store.
    pub(crate) sqs: Option<SqsQueue>,
    pub(crate) clock_rng: ClockRng,
}

/// Whether a newer version of Flexgate has sent the message. True if this version does not know the message's kind.
fn is_newer(body: &str) -> bool {
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    document["kind"].as_str().is_some_and(|kind| !Message::KINDS.contains(&kind))
}

/// Why a message could not be applied.
enum Failure {
    Ledger(LedgerError),
    Graph(GraphError),
}

impl Failure {
    /// Whether a later attempt may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_transient(),
            Self::Graph(_) => true,
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

/// The outcome of handling a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// The message is finished.
    Done,
    /// The message must be retried.
    Again,
    /// The message can never be applied. The string says why, and contains no personal data.
    Dead(String),
}

impl App {
    /// Builds the function with the services of `platform`.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        let clock_rng = platform.clock_rng.clone();
        let ledger = Ledger::of_platform(platform, provisioning.clone(), &settings.policy);
        Arc::new(Self {
            jobs: Jobs::new(ledger.clone(), platform),
            signals: Signals::new(ledger.clone(), platform),
            applier: EventApplier::new(
                ledger,
                provisioning,
                platform.event_history(),
                settings.policy.policy.allowed_roles.clone(),
            ),
            dead_letters: platform.dead_letters(),
            notes: platform.notes(),
            graph: settings.graph.clone().map(|graph| Graph::new(graph, platform)),
            tries: Tries { counters: platform.counters(), clock_rng: clock_rng.clone(), limit: settings.tries },
            sqs: platform.sqs(),
            clock_rng,
        })
    }

    /// Reads the Twilio credential before the first event.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.applier.prewarm(deadline).await;
    }

    /// Returns how long to wait after a failed attempt. `attempts` says which attempt failed, counting from 1. The
    /// longest possible pause doubles with each attempt, up to [`LONGEST_PAUSE`]. The pause is random, so that messages
    /// that failed together are not all attempted again at once.
    pub(crate) fn pause(&self, attempts: u32) -> Duration {
        let span = Duration::from_secs(1 << attempts.min(10)).min(LONGEST_PAUSE);
        span / 4 + self.clock_rng.jitter(span * 3 / 4)
    }

    /// Handles a message. `attempts` says which attempt this is, counting from 1.
    pub async fn handle(&self, body: &str, attempts: u32, deadline: Deadline) -> Handled {
        // Box the future, because it is large and a batch creates many.
        let applied = Box::pin(self.applied(body, attempts, deadline.within(EVENT_TIME)));
        // If the handling of a message panics, only this attempt fails, and the other messages of the batch go on. The
        // next attempt completes any half-done change.
        let handled = AssertUnwindSafe(applied).catch_unwind().await.unwrap_or_else(|_| self.panicked(attempts));
        if matches!(handled, Handled::Dead(_)) {
            telemetry::dead_letter();
        }
        handled
    }

    async fn applied(&self, body: &str, attempts: u32, deadline: Deadline) -> Handled {
        let id = RequestId::new(&self.clock_rng);
        let Ok(message) = serde_json::from_str::<Message>(body) else {
            // During a deployment, a newer version of Flexgate may have sent the message. Try again later, so that the
            // newer version can receive the message.
            let reason =
                if is_newer(body) { "a message of a newer version" } else { "the message is none of Flexgate's" };
            if is_newer(body) && attempts < self.tries.limit {
                tracing::warn!(target: "flexgate::apply", request_id = id.as_str(), attempts, fault = reason, "not applied yet");
                return Handled::Again;
            }
            strange(&id, attempts, reason);
            return Handled::Dead(reason.to_owned());
        };
        let this = Try::new(id, &message, attempts);
        if attempts > self.tries.limit {
            // Normally, a message becomes a dead letter as soon as its last allowed attempt fails. But if that attempt
            // ended the process, the message is delivered once more, and becomes a dead letter here.
            let reason = "its tries ended without a result, like those of a message that ends the process";
            this.dead(reason);
            return Handled::Dead(reason.to_owned());
        }
        let done = match &message {
            Message::Event(event) => self.event(&this, event, deadline).await,
            Message::Signal { event, people_of, reason } => {
                let signalled = self.signals.apply(event, people_of.as_ref(), deadline).await;
                let now = self.clock_rng.now();
                signalled.map(|signalled| this.signalled(event, reason, &signalled, now)).map_err(Failure::Ledger)
            }
            Message::Consequence { event, ended } => {
                let applied = self.applier.end(event, ended, deadline).await;
                applied.map(|applied| this.applied(event, &applied)).map_err(Failure::Ledger)
            }
            Message::Unreadable { reason, .. } => {
                // The webhooks function could not read this event, and a retry would not change that. The reason does
                // not quote the event, so the log can contain the reason.
                this.dead(reason);
                return Handled::Dead(reason.clone());
            }
            Message::Ended { source, event, occurred_at, ended, after } => {
                let ending = Ending { source, event, occurred_at: *occurred_at, ended, after: *after };
                self.end(&this, &ending, deadline).await.map_err(Failure::Ledger)
            }
            Message::Note(note) => match self.notes.note(note).await {
                Ok(()) => {
                    this.noted();
                    Ok(())
                }
                Err(error) => Err(Failure::Ledger(error.into())),
            },
            Message::Reconcile { user, cause, left } => {
                let done = self.jobs.reconcile(user, left.as_ref(), deadline).await;
                done.map(|report| this.reconciled(user, cause, report.as_ref())).map_err(Failure::Ledger)
            }
            Message::FanOut { group, version, members, .. } => self
                .jobs
                .fan_out(group, *version, members)
                .await
                .map(|()| this.fanned_out(members.len()))
                .map_err(Failure::Ledger),
        };
        match done {
            Ok(()) => Handled::Done,
            Err(error) => self.failed(&this, attempts, &error),
        }
    }

    async fn end(&self, this: &Try<'_>, ending: &Ending<'_>, deadline: Deadline) -> Result<(), LedgerError> {
        let (people, unknown) = self.jobs.end(ending, deadline).await?;
        this.fanned_out(people);
        if unknown > 0 {
            let note = Note {
                noted: Noted::Ignored,
                source: ending.source.as_str().into(),
                route: format!("the end of {}", ending.ended.id()).into(),
                code: "ignored".into(),
                reason: "no event ever named the directory of some people, so they stay. Check whether they have left"
                    .into(),
                external_id: None,
                times: u32::try_from(unknown).unwrap_or(u32::MAX),
                at: self.clock_rng.now(),
            };
            telemetry::ignored_event();
            self.notes.note(&note.shortened()).await?;
        }
        Ok(())
    }

    async fn event(&self, this: &Try<'_>, event: &IdentityEvent, deadline: Deadline) -> Result<(), Failure> {
        let looked_up = match &self.graph {
            Some(graph) if event.look_up && self.applier.may_concern(event).await? => {
                Some(graph.described(event, deadline).await?)
            }
            _ => None,
        };
        let event = looked_up.as_ref().unwrap_or(event);
        let applied = self.applier.apply(event, deadline).await?;
        this.applied(event, &applied);
        Ok(())
    }

    fn panicked(&self, attempts: u32) -> Handled {
        let fault = "a fault of Flexgate's own: applying it panicked";
        tracing::error!(target: "flexgate::apply", attempts, fault, "event not applied");
        if attempts < self.tries.limit { Handled::Again } else { Handled::Dead(fault.to_owned()) }
    }

    fn failed(&self, this: &Try<'_>, attempts: u32, error: &Failure) -> Handled {
        let reason = match error {
            Failure::Ledger(error) => with_causes(error),
            Failure::Graph(error) => with_causes(error),
        };
        if error.is_transient() && attempts < self.tries.limit {
            this.again(&reason);
            return Handled::Again;
        }
        this.dead(&reason);
        Handled::Dead(reason)
    }
}
