//! Tests `POST /token` over HTTP, with a simulated Twilio, a simulated identity provider, and a store on disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod attack;
mod caller;
mod claiming;
mod economy;
mod exchange;
mod gate;
mod just_in_time;
mod keys;
mod ledger;
mod lock;
mod newcomers;
mod request;
mod rotation;
mod signed_out;
mod together;
mod upstream;
