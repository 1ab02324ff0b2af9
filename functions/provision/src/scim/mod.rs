//! SCIM over Flex: what the identity systems' writing of users and groups means.
//!
//! What a client writes becomes a statement of the people ledger, which brings Flex in step. The
//! [`ScimStore`](flexgate::store::ScimStore) keeps what neither holds: the client's own keys, its spelling, groups.
//! Every step may be taken twice: whoever repeats a request that failed in between arrives at the same state.

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
