//! The simulated world: Flexgate's functions, Twilio, the identity provider and the store in one process and one
//! thread. Time is simulated, and everything that happens depends only on a seed.
//!
//! [`run`] lets people, directories and administrators act at random, with faults at every boundary. Then it checks
//! that nothing forbidden has happened. `docs/testing.md` explains how to use the simulation.

#![expect(clippy::unwrap_used, reason = "a simulation that cannot go on should panic")]

mod boundary;
mod browser;
mod callers;
mod chance;
mod clock;
mod hooks;
mod insist;
pub mod interleave;
mod judge;
mod log;
mod model;
mod process;
mod run;
mod scim;
mod script;
mod settings;
mod spy;
mod upkeep;
mod vault;
mod weather;
mod world;

pub use run::{Outcome, run, steps};
