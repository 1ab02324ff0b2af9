//! Sends random patches, generated from a fixed seed.
//!
//! Each patch has one to four operations. A model applies the same operations as RFC 7644 §3.5.2 requires, so the test
//! knows the right result. For every patch, the test checks these rules:
//!
//! * If the answer is 200, the resource shows the result of every operation, unless a later operation replaces that
//!   result. Flex has the name, the address, the locale and the worker attributes that the resource shows.
//! * If the answer is 4xx, the resource and Twilio's user are as before. The only exception is `active: false`, which
//!   Flexgate applies even if it refuses the rest. The error then says so.
//! * Flexgate refuses a patch exactly if no resource can show its result. The answer is never 5xx.
//!
//! The model does not cover roles and activity that other sources determine, or attributes that Flexgate ignores. Other
//! tests cover these.

mod dice;
mod emails;
mod group;
mod groups;
mod user;
mod users;

/// The seed of the first request. The seed increases by one with each request. If a request fails, the test prints its
/// seed.
const FIRST_SEED: u64 = 20_261_127;

/// How many requests each test sends.
const REQUESTS: u64 = 400;
