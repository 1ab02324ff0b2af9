//! The ledger against an oracle that is written differently, and the cases of the attack register that it decides.

mod cases;
mod claims;
mod orders;
mod properties;
mod world;
