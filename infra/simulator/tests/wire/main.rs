//! Tests the simulator over HTTP: every service, every switch, every fault.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test helpers may panic like tests")]

mod bridge;
mod common;
mod control;
mod idp;
mod public;
mod rest;
mod sso;
mod storage;
mod tasks;
mod teams;
mod workers;
