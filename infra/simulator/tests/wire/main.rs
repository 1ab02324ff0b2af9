//! The simulator over the wire: every service, every switch, every fault.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod bridge;
mod common;
mod control;
mod idp;
mod rest;
mod sso;
mod storage;
