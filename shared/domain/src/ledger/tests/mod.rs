//! Tests of the ledger's rules.

mod cases;
mod claims;
mod model;
mod orders;
mod properties;
