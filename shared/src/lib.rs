//! The library every Flexgate function shares.
//!
//! Arrows point inward: functions use these rooms, adapters use [`domain`], and [`domain`] uses none
//! of them. `docs/architecture.md` is the map.

pub mod ambient;
pub mod domain;
pub mod outbound;
pub mod seal;
pub mod secrets;
pub mod store;
pub mod twilio;
