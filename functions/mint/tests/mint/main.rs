//! `POST /token` from outside: real HTTP, the simulated Twilio and identity provider, a store on disk.
//!
//! Test names carry the ids of the attacks they refuse; `shared/tests/authn` has more of the attacks on tokens.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod attack;
mod caller;
mod economy;
mod gate;
mod just_in_time;
mod keys;
mod ledger;
mod newcomers;
mod request;
mod rotation;
mod together;
mod upstream;
