//! The clock and the random generator, as traits that tests can replace.
//!
//! Flexgate reads the time and random bytes only through these two traits. So a test can simulate an eight-hour shift
//! in a millisecond. `clippy.toml` bans direct calls to the operating system.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use ring::rand::{SecureRandom as _, SystemRandom};
use time::{Duration, OffsetDateTime};

/// A wall clock in UTC.
pub trait Clock: Debug + Send + Sync {
    /// Returns the current time in UTC.
    fn now(&self) -> OffsetDateTime;
}

/// A source of unpredictable bytes, fit for keys and session identifiers.
pub trait Rng: Debug + Send + Sync {
    /// Fills `dest` with random bytes.
    fn fill(&self, dest: &mut [u8]);
}

/// Returns `N` random bytes.
pub fn random<const N: usize>(rng: &dyn Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}

/// The clock and the random generator.
#[derive(Debug, Clone)]
pub struct ClockRng {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The random generator.
    pub rng: Arc<dyn Rng>,
}

impl ClockRng {
    /// Returns the operating system's clock and random generator.
    #[must_use]
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) }
    }

    /// Returns the current time in UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Returns `N` random bytes.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        random(self.rng.as_ref())
    }

    /// Returns a random duration that is more than zero and at most `most` (full jitter). Random pauses prevent clients
    /// whose requests failed together from all retrying at the same moment.
    #[must_use]
    pub fn jitter(&self, most: std::time::Duration) -> std::time::Duration {
        let share = (f64::from(u32::from_be_bytes(self.random())) + 1.0) / (f64::from(u32::MAX) + 1.0);
        most.mul_f64(share)
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// The operating system's random generator, through *ring*.
#[derive(Debug, Clone, Copy)]
pub struct SystemRng;

impl Rng for SystemRng {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for randomness")]
    fn fill(&self, dest: &mut [u8]) {
        // Without random bytes, the request must fail. Otherwise, an attacker could guess every key and secret.
        assert!(SystemRandom::new().fill(dest).is_ok(), "the operating system did not return random bytes");
    }
}

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock(Mutex<OffsetDateTime>);

impl ManualClock {
    /// Makes a clock that shows `start`.
    #[must_use]
    pub fn at(start: OffsetDateTime) -> Arc<Self> {
        Arc::new(Self(Mutex::new(start)))
    }

    /// Moves the clock forward, or back if the duration is negative.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
