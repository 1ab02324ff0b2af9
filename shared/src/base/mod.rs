//! The foundation of every other module: clock and randomness, the HTTP client, signatures, sealing, strict JSON and
//! the settings reader. Nothing here depends on Twilio, a store or a route.

pub mod clock_rng;
pub mod error_chain;
pub mod jws;
pub mod outbound;
pub mod seal;
pub mod settings;
pub mod strict_json;
