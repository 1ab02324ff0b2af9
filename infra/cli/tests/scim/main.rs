//! Tests SCIM through the whole gateway: large groups, and a database from a version without the people ledger.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::print_stderr, reason = "figures for a run with --nocapture")]

mod client;
mod groups;
mod upgrade;
