//! What a document says, and how it came to be.

use flexgate::domain::RoleSet;
use flexgate::domain::ledger::Statement;
use flexgate::users::ledger::Earlier;

use super::protocol::Document;

/// How a document came to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// `PUT`: the client wrote this, and it replaces what was before.
    Whole(&'a Document),
    /// `PATCH`: the one before with changes. What it says of `active`, if it names that.
    Changed { active: Option<bool> },
}

/// What a document says, and which roles are then the client's own.
pub(super) struct Saying {
    pub(super) statement: Statement,
    pub(super) earlier: Earlier,
    pub(super) own_roles: RoleSet,
}
