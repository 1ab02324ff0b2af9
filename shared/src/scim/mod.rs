//! SCIM 2.0 (RFC 7643, RFC 7644) over Flex: what the identity systems' writing of users and groups means.
//!
//! Twilio is the truth about users; the [`Directory`](crate::store::Directory) holds what Twilio cannot.
//! A change goes to Twilio first and is remembered second, and both steps may be taken twice: whoever
//! repeats a request that failed in between arrives at the same state. The grammars of filters and
//! paths are the `scim_v2` crate's; what they do to a document is here.

mod filter;
mod find;
mod groups;
mod paging;
mod patch;
mod person;
mod place;
mod published;
mod refusal;
mod schema;
mod settings;
mod steps;
mod token;
mod users;
mod view;
mod walk;

pub use filter::{MAX_FILTER, Plan, Test};
pub use groups::{GroupChange, Groups};
pub use paging::{Cursor, MAX_PAGE, Page, Paging};
pub use patch::{Operation, apply, operations};
pub use published::{resource_types, schemas, service_provider_config};
pub use refusal::Refusal;
pub use schema::{Attribute, ENTERPRISE, FLEX_USER, GROUP, Kind, Mutability, Schema, USER};
pub use settings::{GroupRoles, LastAdmin, ScimSettings, WorkerFields};
pub use token::{NewToken, TokenHashes, Tokens};
pub use users::{Outcome, Users};
pub use view::{Projection, version};

/// What a resource carries of its own, without `schemas` and `meta`.
pub type Document = serde_json::Map<String, serde_json::Value>;
