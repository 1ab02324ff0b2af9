//! The "weather" of a run: the probabilities of faults at the boundary between a process and its store or Twilio.

use std::sync::{Mutex, PoisonError};

use crate::chance::Chance;

/// Probabilities in thousandths, for each call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// The store fails before it does anything.
    pub store_fails: u32,
    /// The store commits, but its answer is lost.
    pub store_loses: u32,
    /// The store or Twilio takes long.
    pub slow: u32,
    /// Twilio or the identity provider cannot be reached.
    pub unreachable: u32,
    /// Twilio answers 429 or 503, or a proxy answers instead of Twilio.
    pub refused: u32,
    /// Twilio performs the request, but its answer is lost.
    pub lost: u32,
    /// Twilio performs the request, but its answer is cut off.
    pub garbled: u32,
    /// The process dies while it handles a request.
    pub dies: u32,
}

/// The odds that apply now.
#[derive(Debug, Default)]
pub struct Weather(Mutex<Odds>);

impl Weather {
    pub(crate) fn now(&self) -> Odds {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, odds: Odds) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = odds;
    }
}

impl Odds {
    /// Draws the probabilities for a run. After a fault, the model is less certain about the people, so the tests could
    /// miss a mistake in Flexgate's rules. Therefore, a third of all runs have no faults.
    pub(crate) fn drawn(chance: &Chance) -> Self {
        match chance.below(3) {
            0 => Self::default(),
            1 => Self {
                store_fails: 3,
                store_loses: 3,
                slow: 30,
                unreachable: 5,
                refused: 10,
                lost: 10,
                garbled: 5,
                dies: 20,
            },
            _ => Self {
                store_fails: 15,
                store_loses: 15,
                slow: 80,
                unreachable: 20,
                refused: 40,
                lost: 40,
                garbled: 20,
                dies: 100,
            },
        }
    }
}
