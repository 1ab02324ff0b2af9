//! Describes what a client writes about a user: the form in which the client wrote it, and the resulting statement of
//! the source SCIM for the people ledger.

use flexgate::domain::RoleSet;
use flexgate::domain::ledger::Statement;
use flexgate::users::ledger::Earlier;

use super::protocol::Document;

/// How the client wrote the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// A `PUT`: the client sent this document, which replaces the previous one.
    Whole(&'a Document),
    /// A `PATCH`: the client changed the previous document. `active` is the new value, if the patch contains `active`.
    Changed { active: Option<bool> },
}

/// The result of a write: the statement of the source SCIM, which earlier data of the Flex user stays valid, and the
/// roles that the client itself gives.
pub(super) struct Saying {
    pub(super) statement: Statement,
    pub(super) earlier: Earlier,
    pub(super) own_roles: RoleSet,
}
