//! Tests SCIM over HTTP with a simulated Twilio: attacks, identity systems, lists and failures.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod attack;
mod binding;
mod common;
mod converge;
mod dialects;
mod field;
mod fuzz;
mod ledger;
mod legacy;
mod lists;
mod many;
mod no_tokens;
mod patched;
mod protocol;
mod refused;
mod shapes;
mod sources;
mod understood;
