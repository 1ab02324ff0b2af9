//! Types for a client's write about a user, and for the statement that results.

use flexgate::domain::RoleSet;
use flexgate::domain::ledger::Statement;
use flexgate::users::ledger::Earlier;

use super::protocol::Document;

/// How the client wrote the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// A `PUT`. This document replaces the previous one.
    Whole(&'a Document),
    /// A `PATCH`. `active` is the new value of that attribute, if the patch contains it. `roles` are the roles that the
    /// patch itself names.
    Changed { active: Option<bool>, roles: &'a RoleSet },
}

/// The result of a write: SCIM's statement, what earlier data stays valid, and the roles that the client itself gives.
pub(super) struct Saying {
    pub(super) statement: Statement,
    pub(super) earlier: Earlier,
    pub(super) own_roles: RoleSet,
}
