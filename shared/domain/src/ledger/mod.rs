//! The rules of the people ledger.
//!
//! A [`Source`] is a system that tells Flexgate about people, such as SCIM or a webhook. A [`Statement`] contains
//! everything that one source has said about one person. The function [`desired`] computes what the person's Flex
//! user should be, and an [`Explanation`] of the result.
//!
//! Property tests check these invariants:
//! * Merging statements is commutative, associative and idempotent. So neither the order of deliveries nor a repeated
//!   delivery matters.
//! * After a source has withdrawn its statement, only the other sources' statements and changes by hand in Flex
//!   determine the result.
//! * Flexgate never adds a role that the policy forbids.

mod attach;
mod desired;
mod explanation;
mod person;
mod plan;
mod profile;
mod source;
mod statement;
#[cfg(test)]
mod tests;

pub use attach::{Attachment, AttachmentRefused, attach};
pub use desired::{Active, CLAIMS_LAST, Desired, Occasion, desired};
pub use explanation::{Explanation, FieldReason, RoleReason};
pub use person::{Given, Person, PersonId, PersonIdError, Repairs};
pub use plan::{Plan, PlanRefused, Step};
pub use profile::SourcePriority;
pub use source::{Source, SourceError, SourceKind};
pub use statement::{Said, Statement};
