//! The simulated time: the time on tokio's simulated clock, plus jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flexgate::base::clock_rng::Clock;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

/// The wall clock of the simulated world. Clones show the same time.
#[derive(Debug, Clone)]
pub struct WorldClock {
    began: Instant,
    jumped_seconds: Arc<AtomicI64>,
}

impl WorldClock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), jumped_seconds: Arc::default() }
    }

    /// Moves the clock forward at once, as if the computer had slept for this time.
    pub(crate) fn jump(&self, seconds: i64) {
        self.jumped_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The total length of all jumps so far, in seconds.
    pub(crate) fn jumped(&self) -> i64 {
        self.jumped_seconds.load(Ordering::Relaxed)
    }

    pub(crate) fn at_start() -> OffsetDateTime {
        datetime!(2026-03-02 09:00 UTC)
    }
}

impl Clock for WorldClock {
    fn now(&self) -> OffsetDateTime {
        let elapsed = Duration::try_from(self.began.elapsed()).unwrap_or_default();
        Self::at_start() + elapsed + Duration::seconds(self.jumped())
    }
}
