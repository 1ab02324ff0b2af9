//! What all steps of `flexgate verify` use: the run and its report, and functions that judge Twilio's answers.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use super::made::Made;
use super::report::{Observed, Report};
use super::wire::{Seen, Silence, Wire};

/// A run of the script.
pub struct Session {
    pub wire: Wire,
    pub made: Made,
    pub report: Mutex<Report>,
    /// The username of the user that the script makes.
    pub username: String,
    /// The SSO profile with which the script tests the exchange of codes.
    pub profile: Option<String>,
}

/// Why the script cannot go on.
#[derive(Debug)]
pub struct Halt(pub String);

/// An answer, or why there is none.
pub type Heard = Result<Seen, String>;

impl Session {
    /// Adds a check of Twilio's documented behaviour to the report.
    pub fn step(
        &self,
        asks: &'static str,
        documented: &'static str,
        observed: Result<(bool, String), String>,
    ) -> Result<(), Halt> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.step(asks, documented, observed).map_err(halted)
    }

    /// Adds an answer to the report.
    pub fn answer(&self, switch: &str, observed: Result<Observed, String>) -> Result<(), Halt> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.answer(switch, observed).map_err(halted)
    }

    /// Returns 32 random hexadecimal digits.
    pub fn random(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.wire.clock_rng().random()))
    }
}

fn halted(error: impl Display) -> Halt {
    Halt(format!("the report cannot be written ({error})"))
}

/// Returns the answer to a request. If there is no answer, returns `Err` to end the whole script, or `Ok(Err(…))` to
/// end only the current step.
pub fn heard(asked: Result<Seen, Silence>) -> Result<Heard, Halt> {
    match asked {
        Err(silence @ (Silence::Stopped | Silence::Credential(_))) => Err(Halt(silence.to_string())),
        other => Ok(other.map_err(|silence| silence.to_string())),
    }
}

/// Returns the HTTP status as the observed value if the request succeeded. Otherwise, returns the answer as an
/// observation that the simulator cannot imitate.
pub fn status(heard: &Heard) -> Result<Observed, String> {
    match heard {
        Ok(seen) if seen.is_success() => Ok(Observed::new(seen.status, seen)),
        Ok(seen) => Ok(Observed::strange(seen)),
        Err(why) => Err(why.clone()),
    }
}

/// A step that `is_kept` judges.
pub fn judged(heard: &Heard, is_kept: impl FnOnce(&Seen) -> bool) -> Result<(bool, String), String> {
    heard.as_ref().map(|seen| (is_kept(seen), seen.to_string())).map_err(Clone::clone)
}
