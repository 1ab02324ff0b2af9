//! Just-in-time provisioning: whether a mint may create or update the caller's own Flex user.

use crate::{Caller, DesiredUser, RoleSet, Username};

/// What a mint may do to the caller's own Flex user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JustInTime {
    /// The mint neither creates nor updates a user. A caller without a Flex user gets no token.
    #[default]
    Off,
    /// The mint creates a missing user from the verified claims.
    Create,
    /// The mint creates a missing user. Every mint also updates the e-mail address, full name and roles from the
    /// verified claims.
    CreateAndSync,
}

/// Returns the user to create for a caller who has no Flex user. `None` if the claims lack a verified e-mail address
/// or a full name, or if `roles` is empty.
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
