//! The queue's consumer where this machine is one: a task beside the gateway.
//!
//! A message that is taken comes back when its taker dies, so killing the process loses nothing and
//! does nothing twice that matters.

use std::sync::Arc;

use flexgate::base::outbound::Deadline;
use flexgate::store::{Inbox, Settled, StoreError, Taken};
use time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, EVENT_TIME, Handled};

/// How many subjects' events are applied at once: Twilio limits concurrency per account.
const ABREAST: usize = 8;

/// A message is held this long: longer than applying it may take.
const HELD: Duration = Duration::seconds(EVENT_TIME.as_secs().cast_signed() + 10);

/// What other processes have queued is found within this time.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::minutes(5);

/// Applies what arrives until `stop`, then finishes what has begun.
pub async fn run(app: Arc<App>, inbox: Arc<dyn Inbox>, stop: CancellationToken) {
    let arrivals = inbox.arrivals();
    let mut at_work = JoinSet::new();
    let mut swept_at = None;
    while !stop.is_cancelled() {
        let now = app.ambient.now();
        if swept_at.is_none_or(|at| now - at > Duration::HOUR) {
            swept_at = Some(now);
            report(inbox.sweep(now).await.map(drop));
        }
        let room = u32::try_from(ABREAST - at_work.len()).unwrap_or(0);
        let taken = inbox.take(room, now, now + HELD).await.unwrap_or_else(|error| {
            report(Err(error));
            Vec::new()
        });
        for message in taken {
            at_work.spawn(handle(app.clone(), inbox.clone(), message));
        }
        // With room left, something may arrive; without, somebody must finish.
        let room = at_work.len() < ABREAST;
        tokio::select! {
            () = stop.cancelled() => {}
            () = arrivals.notified(), if room => {}
            () = tokio::time::sleep(LOOK), if room => {}
            Some(_finished) = at_work.join_next() => {}
        }
        while at_work.try_join_next().is_some() {}
    }
    at_work.join_all().await;
}

async fn handle(app: Arc<App>, inbox: Arc<dyn Inbox>, message: Taken) {
    let handled = app.handle(&message.body, message.attempts, Deadline::after(EVENT_TIME)).await;
    let now = app.ambient.now();
    let settled = match handled {
        Handled::Done => Settled::Applied,
        Handled::Again => Settled::Later(now + pause(&app, message.attempts)),
        Handled::Dead(reason) => Settled::Dead(reason),
    };
    // Not settled, it comes again, and is found to be applied.
    report(inbox.settle(&message, settled, now).await);
}

/// Full jitter over a doubling span, from half a second: those that failed together come back apart.
fn pause(app: &App, attempts: u32) -> Duration {
    let span = Duration::seconds(1) * 2_i32.saturating_pow(attempts.min(10));
    let span = span.min(LONGEST_PAUSE);
    let share = f64::from(u16::from_be_bytes(app.ambient.random())) / f64::from(u16::MAX);
    span * (0.25 + 0.75 * share)
}

fn report(done: Result<(), StoreError>) {
    if let Err(error) = done {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(target: "flexgate::apply", error = %error, cause, "the queue is out of reach");
    }
}
