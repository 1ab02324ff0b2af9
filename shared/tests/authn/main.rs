//! Tests the verification of callers through the public API. The issuer is simulated, its signatures are real, and
//! only the tests move the clock.
//!
//! The name of a test begins with an attack's id if the test covers an entry of the attack register.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod claims;
mod header;
mod issuer;
mod keys;
mod mutations;
mod presets;
mod settings;
