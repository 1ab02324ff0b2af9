//! Tests the ledger with cases from the attack register, and against an oracle that was written independently.

mod cases;
mod claims;
mod model;
mod orders;
mod properties;
