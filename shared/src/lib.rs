//! The library that all Flexgate functions share.
//!
//! The functions use these modules, and these modules use the crate [`domain`]. That crate contains the rules that need
//! no I/O, such as which roles a person has. It cannot use any of these modules. `docs/architecture.md` gives an
//! overview.

pub mod authn;
pub mod base;
pub mod lambda;
pub mod platform;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod twilio;
pub mod users;
pub mod web;

pub use flexgate_domain as domain;
