//! The people ledger: what each source says about a person, and what the person should therefore be in Flex.
//!
//! A [`Source`] is anything that tells Flexgate about people, such as SCIM or a webhook. A [`Statement`] holds
//! everything that one source has said about one person. The function [`desired`] computes what Flex should show for a
//! person. Its inputs are all statements about the person, the roles that Flexgate has given so far, the policy, and
//! what Flex shows now. It also returns an [`Explanation`] of every part of the result.
//!
//! Property tests check these invariants:
//! * Merging statements is commutative, associative and idempotent, so the order of deliveries and repeated deliveries
//!   do not matter.
//! * After a source withdraws, only what the other sources say and what was set by hand in Flex remains.
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
