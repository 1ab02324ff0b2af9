//! Proof that the domain depends on no I/O crate and on no other room: the very files of
//! `shared/src/domain`, compiled with serde, thiserror and time and nothing else.

#[path = "../../../shared/src/domain/mod.rs"]
pub mod domain;
