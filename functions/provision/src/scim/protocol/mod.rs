//! The SCIM 2.0 protocol (RFC 7643, RFC 7644): schemas, filters, patches, paging and discovery. It does not depend on
//! Flex, Twilio or the store.

mod discovery;
pub(crate) mod error;
mod filter;
mod grammar;
mod paging;
mod patch;
mod patch_target;
mod schema;
mod view;

pub use discovery::{resource_types, schemas, service_provider_config};
pub use error::ProtocolError;
pub use filter::{MAX_FILTER, Plan, Test};
pub use paging::{Cursor, MAX_PAGE, Page, Paging};
pub use patch::{Operation, apply, names, operations, resource_says_active, says_active};
pub use schema::{Attribute, ENTERPRISE, GROUP, Kind, Mutability, Schema, USER};
pub(crate) use view::complete;
pub use view::{Projection, version};

/// A resource's attributes, without `schemas` and `meta`.
pub type Document = serde_json::Map<String, serde_json::Value>;
