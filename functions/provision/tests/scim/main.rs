//! SCIM over real HTTP to a simulated Twilio: the attacks of the list, dialects, lists, failures.

mod common;
mod converge;
mod dialects;
mod lists;
mod refused;
mod understood;
