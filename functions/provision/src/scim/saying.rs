//! A client's write of a user: how the client wrote it, and what SCIM then states about the person in the people
//! ledger.

use flexgate::domain::RoleSet;
use flexgate::domain::ledger::Statement;
use flexgate::users::ledger::Earlier;

use super::protocol::Document;

/// How the client wrote the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// `PUT`: the client sent this document, which replaces the previous one.
    Whole(&'a Document),
    /// `PATCH`: the client changed the previous document. `active` is the new value, if the patch names it.
    Changed { active: Option<bool> },
}

/// What SCIM states about the person after the write, which earlier data of the Flex user stays valid, and the roles
/// that the client itself gives.
pub(super) struct Saying {
    pub(super) statement: Statement,
    pub(super) earlier: Earlier,
    pub(super) own_roles: RoleSet,
}
