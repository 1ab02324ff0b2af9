//! What a mint may do to the caller's Flex user: make it, or bring it up to date.

use crate::{Caller, DesiredUser, Email, FlexUser, FullName, RoleSet, Username};

/// What becomes of a caller's own Flex user when they mint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JustInTime {
    /// Nothing: a caller whom Flex does not know is refused.
    #[default]
    Off,
    /// A caller whom Flex does not know is provisioned from their verified claims.
    Create,
    /// That, and e-mail address, full name and roles follow the verified claims at every mint.
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

/// What the verified claims say of a caller's user. What they do not say stays as it is in Flex: an
/// issuer that sends no roles demotes nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub(super) email: Option<Email>,
    pub(super) full_name: Option<FullName>,
    /// Empty where the claims map to no role that may be given.
    pub(super) roles: RoleSet,
    pub(super) allowed_roles: RoleSet,
}

impl Sync {
    /// The user as it should be; `None` if it is, or if Twilio did not say all that provisioning it
    /// needs. Worker attributes are never touched, and a deactivated user is never brought back.
    #[must_use]
    pub fn changes(&self, user: &FlexUser) -> Option<DesiredUser> {
        if user.deactivated != Some(false) {
            return None;
        }
        let observed = user.roles.as_ref()?;
        // A role that Flexgate may not give is not its to take either.
        let ours = !observed.exceed(&self.allowed_roles);
        let roles = if ours && !self.roles.is_empty() {
            self.roles.clone()
        } else if observed.exceed(observed.known()) {
            // Flexgate cannot spell all of this user's roles: sending the others would take those away.
            return None;
        } else {
            observed.known().clone()
        };
        let desired = DesiredUser {
            username: user.username.clone(),
            email: self.email.clone().or_else(|| user.email.as_deref()?.parse().ok())?,
            full_name: self.full_name.clone().or_else(|| user.full_name.as_deref()?.parse().ok())?,
            roles,
            worker_attributes: None,
        };
        user.difference(&desired).map(|_| desired)
    }
}
