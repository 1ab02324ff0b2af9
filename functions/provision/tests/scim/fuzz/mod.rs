//! Random patches, from a fixed seed.
//!
//! Each request has one to four operations. A model applies the same operations as RFC 7644 §3.5.2 reads, so it is known
//! what they ask. Whatever the request:
//!
//! * If the answer is 200, the resource then shows what every operation asked (a later operation may overwrite an
//!   earlier one), and Flex has the name, the address, the locale and the worker attributes that the resource shows.
//! * If the answer is 4xx, the resource and Twilio's user are as before. `active: false` is the exception: it is applied
//!   first, and the error says so.
//! * A request is refused exactly if no resource can show what it asks. The answer is never 5xx.
//!
//! The model is silent about roles and activity that other sources decide, and about attributes that Flexgate ignores:
//! other tests cover them.

mod dice;
mod emails;
mod group;
mod groups;
mod user;
mod users;

/// The seed of the first request. Each further request has the next seed, and a failure names the seed of its request.
const FIRST_SEED: u64 = 20_261_127;

/// How many requests each test sends.
const REQUESTS: u64 = 400;
