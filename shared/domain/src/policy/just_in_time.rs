//! Just-in-time provisioning: decides whether a mint may create or update the Flex user of its caller.

use crate::{Caller, DesiredUser, RoleSet, Username};

/// What a mint may do to the caller's own Flex user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JustInTime {
    /// Nothing. A mint for a caller who has no Flex user is refused.
    #[default]
    Off,
    /// If the caller has no Flex user, the mint creates one from the verified claims.
    Create,
    /// Like `Create`. In addition, every mint updates the e-mail address, full name and roles from the verified claims.
    CreateAndSync,
}

/// The user to create for a caller who has no Flex user. `None` if the claims lack a verified e-mail address or a full
/// name, or if `roles` is empty.
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
