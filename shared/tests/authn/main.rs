//! Tests the verification of callers from outside, with an issuer on loopback, real signatures and a clock that stands
//! still.
//!
//! Test names carry the ids of the attacks they refuse.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod claims;
mod header;
mod issuer;
mod keys;
mod mutations;
mod presets;
mod settings;
