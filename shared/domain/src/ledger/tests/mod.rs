//! Tests the ledger's rules with cases from the attack register, and with a model that was written independently of the
//! ledger.

mod cases;
mod claims;
mod model;
mod orders;
mod properties;
