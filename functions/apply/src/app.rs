//! What handling one message means: [`App::handle`], the same on Lambda and beside the local gateway.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use flexgate::base::ambient::Ambient;
use flexgate::base::outbound::Deadline;
use flexgate::domain::{EventId, IdentityEvent, SourceName};
use flexgate::platform::Platform;
use flexgate::store::{DeadLetters, Message};
use flexgate::telemetry::{self, Audit, Decision, RequestId};
use flexgate::users::Provisioning;
use flexgate::users::ledger::{Ledger, LedgerError, Outcome};
use futures_util::FutureExt as _;

use crate::events::{Applied, EventApplier};
use crate::settings::Settings;

/// One event may take this long. Whoever holds a message must hold it longer.
pub const EVENT_TIME: Duration = Duration::from_secs(20);

/// What handling a message needs.
#[derive(Debug)]
pub struct App {
    applier: EventApplier,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    tries: u32,
    pub(crate) ambient: Ambient,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// It is done with.
    Done,
    /// It is to be tried again.
    Again,
    /// It cannot be applied, for that reason, which holds nothing personal.
    Dead(String),
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        let ambient = platform.ambient.clone();
        let ledger = Ledger::of_platform(platform, provisioning.clone(), &settings.policy);
        Arc::new(Self {
            applier: EventApplier::new(
                ledger,
                provisioning,
                platform.subjects(),
                settings.policy.policy.allowed_roles.clone(),
            ),
            dead_letters: platform.dead_letters(),
            tries: settings.tries,
            ambient,
        })
    }

    /// Reads ahead what the first event needs: the Twilio credential.
    pub async fn warm(&self, deadline: Deadline) {
        self.applier.warm(deadline).await;
    }

    /// Handles a message that has been taken `attempts` times, this time included.
    pub async fn handle(&self, body: &str, attempts: u32, deadline: Deadline) -> Handled {
        let applied = self.applied(body, attempts, deadline.within(EVENT_TIME));
        // A panic costs this message a try, and those beside it nothing. Nothing of ours is left half-changed:
        // what an event changes is in the store and at Twilio, and applying it again completes it.
        let handled = AssertUnwindSafe(applied).catch_unwind().await.unwrap_or_else(|_| self.panicked(attempts));
        if matches!(handled, Handled::Dead(_)) {
            telemetry::dead_letter();
        }
        handled
    }

    async fn applied(&self, body: &str, attempts: u32, deadline: Deadline) -> Handled {
        let id = RequestId::new(&self.ambient);
        let event = match serde_json::from_str(body) {
            Ok(Message::Event(event)) => event,
            Ok(Message::Unreadable { source, id: event_id, reason, .. }) => {
                return unreadable(&id, Some((&source, &event_id)), attempts, reason);
            }
            Err(_) => return unreadable(&id, None, attempts, "the message is none of Flexgate's".to_owned()),
        };
        match self.applier.apply(&event, deadline).await {
            Ok(applied) => {
                note(&id, &event, attempts, applied.outcome.as_str());
                audit(&id, &event, &applied);
                Handled::Done
            }
            Err(error) => self.failed(&id, &event, attempts, &error),
        }
    }

    fn panicked(&self, attempts: u32) -> Handled {
        let fault = "a fault of Flexgate's own: applying it panicked";
        tracing::error!(target: "flexgate::apply", attempts, fault, "event not applied");
        if attempts < self.tries { Handled::Again } else { Handled::Dead(fault.to_owned()) }
    }

    fn failed(&self, id: &RequestId, event: &IdentityEvent, attempts: u32, error: &LedgerError) -> Handled {
        let reason = chain(error);
        if error.is_transient() && attempts < self.tries {
            tracing::warn!(
                target: "flexgate::apply",
                request_id = id.as_str(), source = event.source.as_str(), event_id = event.id.as_str(), attempts,
                fault = reason, "event not applied yet"
            );
            return Handled::Again;
        }
        tracing::error!(
            target: "flexgate::apply",
            request_id = id.as_str(), source = event.source.as_str(), event_id = event.id.as_str(), attempts,
            fault = reason, "event is a dead letter"
        );
        write(id, event, None, &reason, Decision::Refused);
        Handled::Dead(reason)
    }
}

/// What nobody can read is a dead letter at once. The reason holds nothing of it.
fn unreadable(id: &RequestId, named: Option<(&SourceName, &EventId)>, attempts: u32, reason: String) -> Handled {
    let (source, event_id) = named.map(|(source, id)| (source.as_str(), id.as_str())).unzip();
    tracing::error!(
        target: "flexgate::apply",
        request_id = id.as_str(), source, event_id, attempts, fault = reason, "event is a dead letter"
    );
    Audit { action: "apply_event", issuer: source, subject: None, flex_user_sid: None, reason: Some(&reason) }
        .write(id, Decision::Refused);
    Handled::Dead(reason)
}

/// The error and its causes, as for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn note(id: &RequestId, event: &IdentityEvent, attempts: u32, outcome: &str) {
    tracing::info!(
        target: "flexgate::apply",
        request_id = id.as_str(), source = event.source.as_str(), event_id = event.id.as_str(), attempts, outcome,
        "event"
    );
}

/// What was done, and each role that was asked for and not given.
fn audit(id: &RequestId, event: &IdentityEvent, applied: &Applied) {
    for role in &applied.dropped_roles {
        write(id, event, Some(applied), &format!("role_dropped: {role}"), Decision::Refused);
    }
    if !applied.blocked.is_empty() {
        write(id, event, Some(applied), &format!("not_changed: {}", applied.blocked.join(", ")), Decision::Refused);
    }
    if matches!(applied.outcome, Outcome::Created | Outcome::Updated | Outcome::Deactivated) {
        write(id, event, Some(applied), applied.outcome.as_str(), Decision::Allowed);
    }
}

fn write(id: &RequestId, event: &IdentityEvent, applied: Option<&Applied>, reason: &str, decision: Decision) {
    Audit {
        action: "apply_event",
        issuer: Some(event.subject.issuer.as_deref().unwrap_or(event.source.as_str())),
        subject: Some(event.subject.id.as_str()),
        flex_user_sid: applied.and_then(|applied| applied.user.as_ref()).map(flexgate::domain::FlexUserSid::as_str),
        reason: Some(reason),
    }
    .write(id, decision);
}
