//! Tests the verification of callers through the public API. The issuer is simulated on the local machine, its
//! signatures are real, and only the tests move the clock.
//!
//! If a test tries an attack from the attack register, its name starts with the attack's id.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod claims;
mod field;
mod header;
mod issuer;
mod keys;
mod mutations;
mod presets;
mod relied_upon;
mod settings;
