//! Tests the verification of callers through the public API. The issuer runs on the local machine, the signatures are
//! real, and only the tests move the clock.
//!
//! If a test tries an attack, its name starts with the attack's id.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod claims;
mod header;
mod issuer;
mod keys;
mod mutations;
mod presets;
mod settings;
