//! SCIM over Flex: what the identity systems' writing of users and groups means.
//!
//! Twilio is the truth about users; the [`Directory`](flexgate::store::Directory) holds what Twilio cannot.
//! A change goes to Twilio first and is remembered second, and both steps may be taken twice: whoever
//! repeats a request that failed in between arrives at the same state.

mod app;
mod find;
mod groups;
mod person;
pub mod protocol;
mod refusal;
mod resources;
mod settings;
mod steps;
mod token;
mod users;
mod walk;

pub(crate) use app::{BASE, Scim};
pub(crate) use groups::GroupChange;
pub(crate) use refusal::Refusal;
pub use resources::{group_schema, user_schema};
pub use settings::{ScimSettings, WorkerFields};
pub use token::{NewToken, TokenHashes};
