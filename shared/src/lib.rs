//! The library every Flexgate function shares.
//!
//! Arrows point inward: functions use these rooms, adapters use [`domain`], and [`domain`] uses none
//! of them. `docs/architecture.md` is the map.

pub mod ambient;
pub mod domain;
pub mod outbound;
