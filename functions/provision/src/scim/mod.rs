//! SCIM for Flex: turns the users and groups that identity systems write into changes of the people ledger and of Flex.
//!
//! Flexgate records what a client writes in the people ledger, as a statement of the source SCIM. The ledger then
//! updates Flex. The [`ScimStore`](flexgate::store::ScimStore) holds what neither the ledger nor Flex stores: the
//! client's own keys, the client's spelling of values, and groups. Every step is idempotent: when a client retries a
//! request that failed halfway, the retry reaches the same state.

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
