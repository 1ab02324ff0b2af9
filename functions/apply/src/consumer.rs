//! Applies messages from the local queue, as a task in the gateway's process. On AWS, SQS calls [`crate::batch`]
//! instead.
//!
//! If the process is killed, the queue delivers the unfinished messages again. Applying a message twice is safe.

use std::sync::Arc;

use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::store::{Inbox, Lane, Settled, StoreError, Taken};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, EVENT_TIME, Handled};

/// The maximum number of messages in progress. It is small, because Twilio limits concurrent requests per account. The
/// queue never releases two messages about one person at once.
const ABREAST: usize = 8;

/// The maximum number of jobs in progress. The rest of [`ABREAST`] is reserved for events.
const JOBS_ABREAST: usize = 6;

/// How long the queue reserves a message for this consumer. This is longer than the time limit for handling a message
/// ([`EVENT_TIME`]).
const HELD: Duration = Duration::seconds(EVENT_TIME.as_secs().cast_signed() + 10);

/// How often the consumer checks the queue for messages from other processes.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Applies messages until `stop` is cancelled. Then finishes the messages in progress.
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
        // Take events before jobs, because events are more urgent.
        for message in take(inbox.as_ref(), Lane::Events, ABREAST - events.len() - jobs.len(), now).await {
            events.spawn(handle(app.clone(), inbox.clone(), message));
        }
        let room = (ABREAST - events.len() - jobs.len()).min(JOBS_ABREAST - jobs.len());
        for message in take(inbox.as_ref(), Lane::Bulk, room, now).await {
            jobs.spawn(handle(app.clone(), inbox.clone(), message));
        }
        // Wait for new messages only while a slot is free.
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
        Handled::Again => Settled::Later(now + app.pause(message.attempts)),
        Handled::Dead(reason) => Settled::Dead(reason),
    };
    // If the outcome cannot be stored, the queue delivers the message again. Applying a message twice is safe.
    report(inbox.settle(&message, settled, now).await);
}

fn report(done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::error!(target: "flexgate::apply", error = with_causes(&error), "the queue is out of reach");
    }
}
