//! The basic modules that all other modules use. Nothing here depends on Twilio, a store or a route.

pub mod clock_rng;
pub mod error_chain;
pub mod jws;
pub mod outbound;
pub mod seal;
pub mod settings;
pub mod strict_json;
