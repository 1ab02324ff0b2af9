//! Takes messages from the queue on machines without SQS, as a task beside the gateway.
//!
//! If a consumer dies, the queue delivers its messages again, so nothing is lost when the process is killed. Applying a
//! message twice is safe.

use std::sync::Arc;

use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::store::{Inbox, Lane, Settled, StoreError, Taken};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, EVENT_TIME, Handled};

/// The maximum number of messages that are applied at the same time. No two of them are about the same person. There is
/// a maximum because Twilio limits the number of concurrent requests per account.
const ABREAST: usize = 8;

/// The maximum number of jobs that run at the same time. The other slots are reserved for events, so that a new event
/// starts at once.
const JOBS_ABREAST: usize = 6;

/// The length of a message's lease. It is longer than the time limit for applying a message.
const HELD: Duration = Duration::seconds(EVENT_TIME.as_secs().cast_signed() + 10);

/// How often the consumer looks in the queue for messages that other processes have queued.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// The longest pause between two tries of a message.
const LONGEST_PAUSE: Duration = Duration::minutes(5);

/// Applies messages as they arrive until `stop` is cancelled. Then finishes the messages that have already started.
pub async fn run(app: Arc<App>, inbox: Arc<dyn Inbox>, stop: CancellationToken) {
    let arrivals = inbox.arrivals();
    let (mut events, mut jobs) = (JoinSet::new(), JoinSet::new());
    let mut swept_at = None;
    while !stop.is_cancelled() {
        let now = app.clock_rng.now();
        if swept_at.is_none_or(|at| now - at > Duration::HOUR) {
            swept_at = Some(now);
            report(inbox.sweep(now).await.map(drop));
        }
        // Take events first, so that jobs get only the remaining slots.
        for message in take(inbox.as_ref(), Lane::Events, ABREAST - events.len() - jobs.len(), now).await {
            events.spawn(handle(app.clone(), inbox.clone(), message));
        }
        let room = (ABREAST - events.len() - jobs.len()).min(JOBS_ABREAST - jobs.len());
        for message in take(inbox.as_ref(), Lane::Bulk, room, now).await {
            jobs.spawn(handle(app.clone(), inbox.clone(), message));
        }
        // If slots are free, wait for new messages too. Otherwise, wait only for a running message to finish.
        let room = events.len() + jobs.len() < ABREAST;
        tokio::select! {
            () = stop.cancelled() => {}
            () = arrivals.notified(), if room => {}
            () = tokio::time::sleep(LOOK), if room => {}
            Some(_finished) = events.join_next() => {}
            Some(_finished) = jobs.join_next() => {}
        }
        while events.try_join_next().is_some() || jobs.try_join_next().is_some() {}
    }
    events.join_all().await;
    jobs.join_all().await;
}

async fn take(inbox: &dyn Inbox, lane: Lane, room: usize, now: OffsetDateTime) -> Vec<Taken> {
    if room == 0 {
        return Vec::new();
    }
    let limit = u32::try_from(room).unwrap_or(u32::MAX);
    inbox.take(lane, limit, now, now + HELD).await.unwrap_or_else(|error| {
        report(Err(error));
        Vec::new()
    })
}

async fn handle(app: Arc<App>, inbox: Arc<dyn Inbox>, message: Taken) {
    let handled = app.handle(&message.body, message.attempts, Deadline::after(EVENT_TIME)).await;
    let now = app.clock_rng.now();
    let settled = match handled {
        Handled::Done => Settled::Applied,
        Handled::Again => Settled::Later(now + pause(&app, message.attempts)),
        Handled::Dead(reason) => Settled::Dead(reason),
    };
    // If settling fails, the queue delivers the message again. This is harmless, because the next try finds that the
    // message has already been applied.
    report(inbox.settle(&message, settled, now).await);
}

/// Returns an exponential backoff with jitter, so that messages that failed together do not retry together. The span
/// doubles with each attempt. The pause is a random time between a quarter of the span and the whole span, and at least
/// half a second.
fn pause(app: &App, attempts: u32) -> Duration {
    let span = Duration::seconds(1) * 2_i32.saturating_pow(attempts.min(10));
    let span = span.min(LONGEST_PAUSE);
    let most = std::time::Duration::try_from(span * 3 / 4).unwrap_or_default();
    span / 4 + app.clock_rng.jitter(most)
}

fn report(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::error!(target: "flexgate::apply", error = with_causes(&error), "the queue is out of reach");
    }
}
