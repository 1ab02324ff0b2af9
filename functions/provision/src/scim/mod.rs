//! SCIM for Flex. When an identity system writes a user or a group, this module changes the people ledger (which stores
//! what each source says about a person) and Flex.
//!
//! What a client writes about a user becomes a statement in the ledger, with SCIM as its source. The
//! [`ScimStore`](flexgate::store::ScimStore) keeps the rest: `externalId`, the client's spelling of values, and groups.
//! Every step is idempotent, so a client may retry a failed request.

mod app;
mod binding;
mod groups;
mod list;
mod lookup;
mod person;
pub mod protocol;
mod refusal;
mod resources;
mod saying;
mod says;
mod settings;
mod token;
mod users;

pub(crate) use app::{BASE, Scim};
pub(crate) use groups::GroupChange;
pub(crate) use refusal::Refusal;
pub use resources::{group_schema, user_schema};
pub use settings::{ScimSettings, WorkerFields};
pub(crate) use token::Verified;
pub use token::{NewToken, TokenHashes};
