//! SCIM 2.0 (RFC 7643, RFC 7644) as a protocol: schemas, filters, patches, paging, and what a server says of itself.
//!
//! Nothing here knows Flex, Twilio or a store.

pub(crate) mod error;
mod filter;
mod grammar;
mod paging;
mod patch;
mod place;
mod published;
mod schema;
mod view;

pub use error::ProtocolError;
pub use filter::{MAX_FILTER, Plan, Test};
pub use paging::{Cursor, MAX_PAGE, Page, Paging};
pub use patch::{Operation, apply, operations, says_active};
pub use published::{resource_types, schemas, service_provider_config};
pub use schema::{Attribute, ENTERPRISE, GROUP, Kind, Mutability, Schema, USER};
pub(crate) use view::complete;
pub use view::{Projection, version};

/// What a resource carries of its own, without `schemas` and `meta`.
pub type Document = serde_json::Map<String, serde_json::Value>;
