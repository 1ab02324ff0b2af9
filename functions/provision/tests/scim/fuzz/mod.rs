//! Sends random patches, generated from fixed seeds.
//!
//! A patch has one to four operations. A model computes the expected result according to RFC 7644 §3.5.2. The test
//! checks these rules:
//!
//! * After a 200, the resource shows the result of every operation that no later operation overrides. Flex has the same
//!   name, e-mail address, locale and worker attributes as the resource.
//! * After a 4xx, the resource and Twilio's user are unchanged. The exception is `active: false`, which Flexgate
//!   applies even if it refuses the rest.
//! * Flexgate refuses a patch if and only if no resource can show its result. No answer is 5xx.
//!
//! The model covers neither ignored attributes nor what other sources state about roles and `active`.

mod dice;
mod emails;
mod group;
mod groups;
mod user;
mod users;

/// The seed of the first request. The seed of each further request is one higher. A failing test prints the seed.
const FIRST_SEED: u64 = 20_261_127;

/// How many requests each test sends.
const REQUESTS: u64 = 400;
