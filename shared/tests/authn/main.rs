//! Tests the verification of callers through the public API. The issuer and the clock are simulated, but the signatures
//! are real.
//!
//! If a test covers an entry in `docs/attack-register.md`, the test's name begins with the entry's id.

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
mod transmitter;
