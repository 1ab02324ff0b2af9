//! Limits how many rows of an import are sent at once. Sending a row needs a slot. After Twilio answers 429, the number
//! of slots is halved. After successes, the number grows by one at a time. A row that waits for a retry holds no slot.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use tokio::sync::Notify;
use tokio::time::Instant;

/// After a 429 has halved the number of slots, other 429 answers do not halve it again within this time.
const ONE_REFUSAL: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: u64 = 10_000;

pub(super) struct Pace {
    most: usize,
    clock_rng: ClockRng,
    state: Mutex<State>,
    /// Wakes waiting rows when the number of slots changes or when a slot may be free.
    changed: Notify,
}

struct State {
    limit: usize,
    /// How many rows are being sent.
    sending: usize,
    /// The number of successful rows since the number of slots last changed.
    good: usize,
    halved_at: Option<Instant>,
    /// Twilio allows no row before this time.
    not_before: Option<Instant>,
    stopped: bool,
}

/// The permission to send one row. Dropping the value frees the slot.
pub(super) struct Slot<'a>(&'a Pace);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.state().sending -= 1;
        self.0.changed.notify_waiters();
    }
}

impl Pace {
    pub(super) fn new(most: usize, clock_rng: ClockRng) -> Self {
        let state = State { limit: most, sending: 0, good: 0, halved_at: None, not_before: None, stopped: false };
        Self { most, clock_rng, state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn now(&self) -> time::OffsetDateTime {
        self.clock_rng.now()
    }

    /// Returns the maximum number of slots. After an answer with 429, the import has fewer slots.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits until a slot is free and the pause that Twilio requested is over. Returns `None` if the import is
    /// stopping.
    pub(super) async fn slot(&self) -> Option<Slot<'_>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Register for the notification before reading the state. Otherwise, a change in between would not wake
            // this task.
            changed.as_mut().enable();
            let until = {
                let mut state = self.state();
                if state.stopped {
                    return None;
                }
                let until = state.not_before.filter(|until| *until > Instant::now());
                if until.is_none() && state.sending < state.limit {
                    state.sending += 1;
                    return Some(Slot(self));
                }
                until
            };
            match until {
                Some(until) => {
                    let _either = tokio::time::timeout_at(until, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Handles an answer with 429: halves the number of slots, and pauses the refused row.
    pub(super) async fn slow_down(&self, asked: Option<Duration>, tries: u32) {
        {
            let now = Instant::now();
            let mut state = self.state();
            if let Some(asked) = asked {
                state.not_before = state.not_before.max(Some(now + asked));
            }
            if state.halved_at.is_none_or(|at| now - at > ONE_REFUSAL) {
                (state.limit, state.good, state.halved_at) = ((state.limit / 2).max(1), 0, Some(now));
            }
        }
        self.pause(tries).await;
    }

    /// Pauses for a random time. The maximum pause doubles with each attempt, up to ten seconds.
    pub(super) async fn pause(&self, tries: u32) {
        let span = (100 << tries.min(8)).min(LONGEST_PAUSE);
        tokio::time::sleep(self.clock_rng.jitter(Duration::from_millis(span))).await;
    }

    /// Handles a success. Adds a slot after as many successes as there are slots.
    pub(super) fn speed_up(&self) {
        let mut state = self.state();
        state.good += 1;
        if state.good >= state.limit && state.limit < self.most {
            (state.limit, state.good) = (state.limit + 1, 0);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Stops the import. From now on, no row gets a slot.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_the_limit_once_and_successes_raise_it_by_ones() {
        let pace = Pace::new(8, ClockRng::system());
        tokio::join!(pace.slow_down(None, 1), pace.slow_down(None, 1));
        assert_eq!(pace.limit(), 4);
        for _ in 0..4 {
            pace.speed_up();
        }
        assert_eq!(pace.limit(), 5);
        for _ in 0..100 {
            pace.speed_up();
        }
        assert_eq!(pace.limit(), 8);
        for _ in 0..10 {
            tokio::time::advance(ONE_REFUSAL * 2).await;
            pace.slow_down(None, 1).await;
        }
        assert_eq!(pace.limit(), 1, "never none");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_rows_are_sent_at_once_than_the_limit_and_one_that_waits_is_none_of_them() {
        let pace = Pace::new(2, ClockRng::system());
        let first = pace.slot().await.unwrap();
        let second = pace.slot().await.unwrap();
        let soon = Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, pace.slot()).await.is_err(), "both places are taken");
        drop(first);
        let third = tokio::time::timeout(soon, pace.slot()).await.unwrap().unwrap();
        // The second row finishes, and an answer with 429 leaves only one slot. The third row holds this slot. The next
        // row must wait until the third row has finished.
        drop(second);
        pace.slow_down(None, 1).await;
        assert!(tokio::time::timeout(soon, pace.slot()).await.is_err());
        drop(third);
        assert!(tokio::time::timeout(soon, pace.slot()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_before_the_time_twilio_said_and_a_stop_ends_the_waiting() {
        let pace = Pace::new(2, ClockRng::system());
        let began = Instant::now();
        pace.slow_down(Some(Duration::from_secs(30)), 1).await;
        drop(pace.slot().await.unwrap());
        assert!(began.elapsed() >= Duration::from_secs(30));

        pace.slow_down(Some(Duration::from_secs(30)), 1).await;
        let (seat, ()) = tokio::join!(pace.slot(), async { pace.stop() });
        assert!(seat.is_none() && began.elapsed() < Duration::from_secs(40));
    }
}
