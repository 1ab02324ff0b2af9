//! SCIM through the whole gateway: groups of many, and the store of the version before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::print_stderr, reason = "figures for whoever asks for them with --nocapture")]

mod client;
mod groups;
mod upgrade;
