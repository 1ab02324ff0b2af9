//! The world of a test: a gateway, a browser, and a simulator of Twilio and the identity provider.
//!
//! No part of Flexgate is mocked: the tests use the real routers, SQLite on disk, and secrets in files, and Flexgate
//! talks to the simulator over HTTP. Only the clock is manual.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should panic")]

mod browser;
mod client;
mod log;
mod process;
mod reply;
mod world;

pub use browser::Browser;
pub use client::{Client, router_from, stream_from};
pub use log::Log;
pub use process::{Process, free_port};
pub use reply::Reply;
pub use world::{GATEWAY, GATEWAY_HOST, World, patient_aws, platform};
