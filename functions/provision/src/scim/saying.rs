//! The statement derived from a document, and how the client wrote that document.

use flexgate::domain::RoleSet;
use flexgate::domain::ledger::Statement;
use flexgate::users::ledger::Earlier;

use super::protocol::Document;

/// How the client wrote the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// `PUT`: the client sent this document, which replaces the previous one.
    Whole(&'a Document),
    /// `PATCH`: the previous document with changes. `active` is the new value, if the patch names it.
    Changed { active: Option<bool> },
}

/// The statement derived from a document, and the roles that are then the client's own.
pub(super) struct Saying {
    pub(super) statement: Statement,
    pub(super) earlier: Earlier,
    pub(super) own_roles: RoleSet,
}
