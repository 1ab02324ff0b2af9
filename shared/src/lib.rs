//! The library every Flexgate function shares.
//!
//! Arrows point inward: functions use these rooms, adapters use [`domain`], and [`domain`] uses none
//! of them. `docs/architecture.md` is the map.

pub mod ambient;
pub mod aws;
pub mod caller;
pub mod domain;
pub mod http;
pub mod jws;
pub mod minting;
pub mod outbound;
pub mod platform;
pub mod process;
pub mod provisioning;
pub mod scim;
pub mod seal;
pub mod secrets;
pub mod settings;
pub mod signin;
pub mod store;
pub mod strict_json;
pub mod telemetry;
pub mod twilio;
