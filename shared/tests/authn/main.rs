//! Who is calling, judged from outside: an issuer on loopback, real signatures, a clock that stands.
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
