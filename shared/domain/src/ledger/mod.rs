//! The rules of the people ledger: what each source says about a person, and what the person's Flex user should
//! therefore look like.
//!
//! A [`Source`] is anything that tells Flexgate about people, such as SCIM or a webhook. A [`Statement`] holds
//! everything that one source has said about one person. The function [`desired`] computes how the person's Flex user
//! should look. Its inputs are all statements about the person, the roles that Flexgate has given so far, the policy,
//! and what Flex shows now. It also returns an [`Explanation`], which gives the reason for every part of the result.
//!
//! Property tests check these invariants:
//! * Merging statements is commutative, associative and idempotent. So the order of deliveries does not matter, and
//!   neither do repeated deliveries.
//! * After a source has withdrawn its statement, only two things determine the result: what the other sources say, and
//!   what somebody set by hand in Flex.
//! * Flexgate never adds a role that the policy forbids.

mod attach;
mod desired;
mod explanation;
mod may_claim;
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
pub use may_claim::{Claimable, MayClaim};
pub use person::{Given, Person, PersonId, PersonIdError, Repairs};
pub use plan::{Plan, PlanRefused, Step};
pub use profile::SourcePriority;
pub use source::{Source, SourceError, SourceKind};
pub use statement::{Said, Statement};
