//! Tests of the ledger's rules.

mod cases;
mod claims;
mod model;
mod orders;
mod plans;
mod properties;
mod statements;
