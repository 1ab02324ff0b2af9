//! What a mint may do to the caller's Flex user: create it, or bring it up to date.

use crate::{Caller, DesiredUser, RoleSet, Username};

/// What a mint does to the caller's own Flex user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JustInTime {
    /// Nothing: a caller whom Flex does not know is refused.
    #[default]
    Off,
    /// A caller whom Flex does not know is provisioned from their verified claims.
    Create,
    /// As `Create`; also, e-mail address, full name and roles follow the verified claims at every mint.
    CreateAndSync,
}

/// The user to provision for a caller whom Flex does not know, if their verified claims say enough.
pub(super) fn newcomer(caller: &Caller, username: &Username, roles: RoleSet) -> Option<DesiredUser> {
    if roles.is_empty() {
        return None;
    }
    Some(DesiredUser {
        username: username.clone(),
        email: caller.verified_email.clone()?,
        full_name: caller.full_name.clone()?,
        roles,
        worker_attributes: None,
    })
}
