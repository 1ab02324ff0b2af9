//! The basic modules that all other modules use: clock and random generator, HTTP client, signatures, encryption of
//! cookies and stored tokens, strict JSON, and the reader of settings. Nothing here depends on Twilio, a store or a
//! route.

pub mod clock_rng;
pub mod error_chain;
pub mod jws;
pub mod outbound;
pub mod seal;
pub mod settings;
pub mod strict_json;
