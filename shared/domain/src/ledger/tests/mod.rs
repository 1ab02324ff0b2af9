//! Tests the ledger against an independently written oracle, and on the cases of the attack register that it decides.

mod cases;
mod claims;
mod model;
mod orders;
mod properties;
