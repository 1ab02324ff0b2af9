//! Counts the tries of a message from SQS.
//!
//! SQS counts deliveries (`ApproximateReceiveCount`). Not every delivery is a try, because a message may be delivered
//! and then wait behind a failed message of its group. So Flexgate counts the tries itself. To save writes, the first
//! delivery is counted only if its try fails. Each later delivery is counted before its try, so that a try that ends
//! the whole process is counted too. When a message succeeds, its count is deleted. The message may come again
//! nevertheless, if a later message of the batch ends the process.

use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::error_chain::with_causes;
use flexgate::store::{Counters, StoreError};
use time::Duration;

/// The kind of these counters.
const KIND: &str = "message-tries";

/// How long a count is stored. SQS keeps a message no longer than this.
const KEPT: Duration = Duration::days(14);

/// The counts of tries, by SQS's message id. A message that an operator puts back into the queue has a new id, so its
/// count begins again.
#[derive(Debug)]
pub(crate) struct Tries {
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) clock_rng: ClockRng,
    /// `FLEXGATE_APPLY_TRIES`.
    pub(crate) limit: u32,
}

impl Tries {
    /// Returns the number of the try that begins now. `received` is the number of deliveries.
    ///
    /// If the store is unavailable, the message cannot be applied either. Then the number of deliveries replaces the
    /// count, but stays below the limit, so that an outage of the store makes no dead letters.
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

    /// Returns an estimate for a count that cannot be read. The estimate is below the limit.
    pub(crate) fn guess(&self, received: u32) -> u32 {
        received.min(self.limit.saturating_sub(1)).max(1)
    }

    /// Records that a try has failed.
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
