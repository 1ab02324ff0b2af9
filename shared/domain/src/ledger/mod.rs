//! The people ledger: what each source says about a person, and what the person should therefore be in Flex.
//!
//! A [`Statement`] holds everything that one [`Source`] has said. [`desired`] is a pure function from all statements,
//! the roles that Flexgate has given so far, the policy and what Flex shows to what Flex should show, together with
//! an [`Explanation`] of every part of the answer.
//!
//! Invariants, each held by a property test:
//! * Merging is commutative, associative and idempotent: neither the order of deliveries nor a repetition matters.
//! * Withdrawing a source leaves exactly what the other sources say and what was made by hand.
//! * No role is added that the policy forbids.

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
