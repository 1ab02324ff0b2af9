//! SCIM for Flex: turns the users and groups that identity systems write into changes of the people ledger and of Flex.
//!
//! Flexgate records what a client writes about a user in the people ledger, as a statement of the source SCIM. The
//! ledger then updates Flex. The [`ScimStore`](flexgate::store::ScimStore) contains what neither the ledger nor Flex
//! stores: the client's own keys (`externalId`), the values in the form in which the client wrote them, and groups.
//! Every step is idempotent. If a request fails halfway, the client's retry reaches the same state.

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
pub use token::{NewToken, TokenHashes};
