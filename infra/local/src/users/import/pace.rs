//! How many rows are under way at once: fewer as soon as Twilio says 429, slowly more while it does not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flexgate::ambient::Ambient;
use tokio::time::Instant;

use super::jitter;

/// Refusals that come together are one: the limit is halved at most this often.
const ONE_REFUSAL: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: u64 = 10_000;

pub(super) struct Pace {
    most: usize,
    ambient: Ambient,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    /// Rows that succeeded since the limit last changed.
    good: usize,
    halved_at: Option<Instant>,
    /// Nobody asks before this: Twilio said how long to wait.
    not_before: Option<Instant>,
}

impl Pace {
    pub(super) fn new(most: usize, ambient: Ambient) -> Self {
        let state = State { limit: most, good: 0, halved_at: None, not_before: None };
        Self { most, ambient, state: Mutex::new(state) }
    }

    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits until asking is allowed.
    pub(super) async fn wait(&self) {
        let until = self.state().not_before;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// After a 429: fewer at once, and a pause for this row.
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

    /// A pause of random length over a doubling span.
    pub(super) async fn pause(&self, tries: u32) {
        let span = (100 << tries.min(8)).min(LONGEST_PAUSE);
        tokio::time::sleep(jitter(&self.ambient, span)).await;
    }

    /// After a success: as many successes as there are places earn one more place.
    pub(super) fn speed_up(&self) {
        let mut state = self.state();
        state.good += 1;
        if state.good >= state.limit && state.limit < self.most {
            (state.limit, state.good) = (state.limit + 1, 0);
        }
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
        let pace = Pace::new(8, Ambient::system());
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
}
