//! Counts the attempts at each message from SQS.
//!
//! SQS counts only deliveries (`ApproximateReceiveCount`). Not every delivery is an attempt, because a delivered
//! message may have to wait behind a failed message of its group. So Flexgate counts the attempts itself. To save
//! writes, Flexgate counts the first delivery only if its attempt fails. It counts each later delivery before the
//! attempt, so that an attempt that ends the whole process counts too. When a message succeeds, Flexgate deletes the
//! message's count. Even then, SQS may deliver the message again, if a later message of the batch ends the process.

use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::error_chain::with_causes;
use flexgate::store::{Counters, StoreError};
use time::Duration;

/// The kind of these counters.
const KIND: &str = "message-tries";

/// How long a count is stored. SQS keeps a message no longer than this.
const KEPT: Duration = Duration::days(14);

/// The number of attempts at each message, by SQS's message id. A message that an operator puts back into the queue has
/// a new id, so its count starts again.
#[derive(Debug)]
pub(crate) struct Tries {
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) clock_rng: ClockRng,
    /// `FLEXGATE_APPLY_TRIES`.
    pub(crate) limit: u32,
}

impl Tries {
    /// Returns which attempt begins now, counting from 1. `received` is the number of deliveries.
    ///
    /// If the store is unavailable, the message cannot be applied either. In that case, returns the number of
    /// deliveries, but at most one less than the limit, so that an outage of the store causes no dead letters. The
    /// result is at least 1, even if the limit is 1.
    pub(crate) async fn begin(&self, id: &str, received: u32) -> u32 {
        if received <= 1 {
            return 1;
        }
        match self.count(id).await {
            Ok(tries) => tries,
            Err(error) => {
                report(&error);
                self.guess(received)
            }
        }
    }

    /// Returns an estimate for a count that cannot be read. The estimate is below the limit, unless the limit is 1.
    pub(crate) fn guess(&self, received: u32) -> u32 {
        received.min(self.limit.saturating_sub(1)).max(1)
    }

    /// Records that an attempt has failed.
    pub(crate) async fn failed(&self, id: &str, received: u32) {
        if received <= 1
            && let Err(error) = self.count(id).await
        {
            report(&error);
        }
    }

    /// Records that the message is finished.
    pub(crate) async fn succeeded(&self, id: &str, received: u32) {
        if received > 1
            && let Err(error) = self.counters.forget(KIND, &[id]).await
        {
            report(&error);
        }
    }

    async fn count(&self, id: &str) -> Result<u32, StoreError> {
        Ok(self.counters.count(KIND, &[id], self.clock_rng.now(), KEPT).await?.times)
    }
}

fn report(error: &StoreError) {
    tracing::warn!(target: "flexgate::apply", fault = with_causes(error), "the tries of a message could not be counted");
}
