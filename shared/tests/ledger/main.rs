//! Tests the people ledger with a real store and a simulated Twilio.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "../common/dynamodb.rs"]
#[expect(dead_code, reason = "other suites use the store alone")]
mod dynamodb;

mod attack;
mod changing_hands;
mod fixture;
mod groups;
mod leavers;
mod oracle;
mod rules;
mod sequences;
mod successors;
mod sweep;
mod withdrawal;
