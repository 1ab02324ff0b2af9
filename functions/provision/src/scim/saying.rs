//! Types for what a client writes about a user, and for the resulting statement in the people ledger.

use flexgate::domain::RoleSet;
use flexgate::domain::ledger::Statement;
use flexgate::users::ledger::Earlier;

use super::person::Person;
use super::protocol::Document;
use super::refusal::Refusal;

/// How the client wrote the document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// A `PUT`. This document replaces the previous one.
    Whole(&'a Document),
    /// A `PATCH`.
    Changed(&'a Patched),
}

/// What a patch itself contains.
#[derive(Debug)]
pub(super) struct Patched {
    /// The new value of `active`.
    pub(super) active: Option<bool>,
    /// The roles that the patch names.
    pub(super) roles: RoleSet,
    /// The fields that the patch sets, with the names that the ledger's `Report::blocked` uses.
    pub(super) fields: Vec<&'static str>,
}

impl Written<'_> {
    /// The fields that a patch sets, even if their values stay the same. For a `PUT`, this is empty, because clients
    /// repeat unchanged fields in a `PUT`.
    pub(super) fn fields(&self) -> &[&'static str] {
        match self {
            Self::Whole(_) => &[],
            Self::Changed(patched) => &patched.fields,
        }
    }
}

/// What a client's write means: SCIM's new statement, the earlier data that stays valid, and the roles that the client
/// itself gives. A role that the user has only from another source is not among them.
pub(super) struct Saying {
    pub(super) statement: Statement,
    pub(super) earlier: Earlier,
    pub(super) own_roles: RoleSet,
}

/// Refuses a write of `fields` if they include a field that Flexgate cannot change in Flex.
pub(super) fn check_blocked(person: &Person, fields: &[&'static str]) -> Result<(), Refusal> {
    let mut blocked = person.view.blocked.clone();
    blocked.retain(|field| fields.contains(field));
    if blocked.is_empty() { Ok(()) } else { Err(Refusal::Blocked(blocked.join(", "))) }
}

/// Returns the names of the statement's fields, spelled as in the ledger's `Report::blocked`.
pub(super) fn told(statement: &Statement) -> Vec<&'static str> {
    let fields = [
        ("full_name", statement.full_name.is_some()),
        ("roles", statement.roles.is_some()),
        ("active", statement.active.is_some()),
        ("attributes", statement.attributes.is_some()),
    ];
    fields.into_iter().filter_map(|(field, is_told)| is_told.then_some(field)).collect()
}
