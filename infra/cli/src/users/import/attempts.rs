//! Processes several rows of an import at once. Retries each row until it is done or has failed.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;

use flexgate::twilio::TwilioError;
use flexgate::users::ledger::LedgerError;
use tokio::task::JoinSet;

use super::pace::Pace;
use super::rows::Row;
use crate::terminal::stopped;
use crate::users::outcome::reason;

/// The maximum number of attempts for a row if Twilio fails. If Twilio limits the rate, or if another process is
/// changing the person, the maximum is `BUSY_TRIES`.
const TRIES: u32 = 6;
const BUSY_TRIES: u32 = 30;

/// The maximum number of rows in progress for each slot. A slot is the permission to send one row. A row that waits for
/// a retry is still in progress, but holds no slot.
const WAITING: usize = 4;

/// The outcome of a row.
pub(super) enum Attempt<T> {
    Done(T),
    Failed(String),
    /// The row failed with an error that every other row would get too. So the import stops.
    Hopeless(String),
    /// The import stopped before this row.
    Left,
}

/// Processes every row with `work`. Calls `ended` for each row that is done or has failed. If the import stops early,
/// returns the reason: a row was `Hopeless`, or the user interrupted the import.
pub(super) async fn each<T, F>(
    mut rows: VecDeque<Row>,
    pace: &Arc<Pace>,
    work: impl Fn(Row, Arc<Pace>) -> F,
    mut ended: impl FnMut(&Row, Result<T, String>) -> Result<(), Box<dyn Error>>,
) -> Result<Option<String>, Box<dyn Error>>
where
    T: Send + 'static,
    F: Future<Output = (Row, Attempt<T>)> + Send + 'static,
{
    let (mut under_way, mut halted) = (JoinSet::new(), None);
    let interrupted = stopped();
    tokio::pin!(interrupted);
    loop {
        while halted.is_none() && under_way.len() < pace.most() * WAITING {
            let Some(row) = rows.pop_front() else { break };
            under_way.spawn(work(row, pace.clone()));
        }
        let next = tokio::select! {
            next = under_way.join_next() => next,
            () = &mut interrupted, if halted.is_none() => {
                halted = Some("interrupted".to_owned());
                pace.stop();
                continue;
            }
        };
        let Some(next) = next else { return Ok(halted) };
        match next? {
            (row, Attempt::Done(done)) => ended(&row, Ok(done))?,
            (row, Attempt::Failed(reason)) => ended(&row, Err(reason))?,
            (_, Attempt::Hopeless(reason)) => {
                pace.stop();
                halted = halted.or(Some(reason));
            }
            (_, Attempt::Left) => {}
        }
    }
}

/// Processes one row. Retries after errors that may be temporary.
pub(super) async fn patiently<T, F>(pace: &Pace, attempt: impl Fn() -> F) -> Attempt<T>
where
    F: Future<Output = Result<Attempt<T>, LedgerError>>,
{
    let mut tries = 0;
    let outcome = loop {
        let Some(slot) = pace.slot().await else { break Attempt::Left };
        tries += 1;
        let answer = attempt().await;
        drop(slot);
        let error = match answer {
            Ok(outcome) => break outcome,
            Err(LedgerError::Store(error)) => break Attempt::Hopeless(error.to_string()),
            // Another process is changing the person, and holds a lease. Try again, because the lease expires soon even
            // if that process has been killed.
            Err(LedgerError::Busy(_)) if tries < BUSY_TRIES => {
                pace.pause(tries).await;
                continue;
            }
            Err(LedgerError::Twilio(error)) => error,
            Err(error) => break Attempt::Failed(reason(&error)),
        };
        match &error {
            TwilioError::Busy(api) if tries < BUSY_TRIES => pace.slow_down(api.retry_after, tries).await,
            TwilioError::Failing(_) | TwilioError::Lost(_) | TwilioError::Timeout | TwilioError::Unreachable(_)
                if tries < TRIES =>
            {
                pace.pause(tries).await;
            }
            TwilioError::CredentialRejected(_)
            | TwilioError::PermissionMissing(_)
            | TwilioError::Intercepted(_)
            | TwilioError::Foreign
            | TwilioError::Secret(_)
            | TwilioError::Busy(_)
            | TwilioError::Unreachable(_) => break Attempt::Hopeless(error.to_string()),
            _ => break Attempt::Failed(error.to_string()),
        }
    };
    if matches!(outcome, Attempt::Done(_)) {
        pace.speed_up();
    }
    outcome
}
