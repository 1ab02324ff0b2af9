//! SCIM over Flex: how Flexgate interprets the users and groups that identity systems write.
//!
//! What a client writes becomes a statement in the people ledger, which updates Flex. The
//! [`ScimStore`](flexgate::store::ScimStore) holds what neither of them stores: the client's own keys, its spelling,
//! groups.
//! Every step is idempotent: when a client retries a request that failed halfway, it reaches the same state.

mod app;
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
