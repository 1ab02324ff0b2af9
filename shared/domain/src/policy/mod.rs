//! The policy: decides who may mint a token, for which user, with which roles and for how long.
//!
//! The decision depends only on the verified caller, the request, the settings and the time. An empty allow-list
//! allows nobody.

mod just_in_time;
mod template;
#[cfg(test)]
mod tests;
mod usernames;

use std::fmt;

use time::OffsetDateTime;

pub use just_in_time::JustInTime;
pub use template::{TemplateError, UsernameTemplate};
pub use usernames::{PatternError, UsernamePattern};

use super::caller::{Caller, IssuerLimits, Scope};
use super::name::Username;
use super::role::{Role, RoleSet, role_names};
use super::ttl::TokenTtl;
use super::user::{DesiredUser, FlexUser};

/// The policy in the settings.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The roles that Flexgate may give. `admin` is among them only if the operator explicitly lists it.
    pub allowed_roles: RoleSet,
    /// The roles of a person for whom no source names an allowed role.
    pub default_roles: RoleSet,
    /// Whether a mint may create or update the caller's Flex user.
    pub just_in_time: JustInTime,
    /// The longest lifetime of a minted token.
    pub max_ttl: TokenTtl,
}

/// The values in the body of a `POST /token` request.
#[derive(Debug, Clone, Default)]
pub struct MintRequest {
    /// The requested lifetime of the token.
    pub ttl: Option<TokenTtl>,
    /// The user for whom the caller mints. `None` if the caller mints for themselves.
    pub username: Option<Username>,
    /// The only roles that the token may contain. `None` if the request does not limit the roles.
    pub roles: Option<RoleSet>,
}

/// A mint that the policy allows. `Display` describes the mint and its limits for the audit log.
#[derive(Debug, Clone)]
pub struct MintGrant {
    /// The user for whom the token is minted.
    pub username: Username,
    /// Whether the caller mints for themselves.
    pub for_self: bool,
    /// The lifetime of the token.
    pub ttl: TokenTtl,
    /// What determined the lifetime.
    pub ttl_by: TtlBy,
    /// The only roles that the token may contain. `None` if the request does not limit the roles.
    pub only_roles: Option<RoleSet>,
    /// The user to create if no Flex user has the username. `None` if the mint must not create a user.
    pub newcomer: Option<DesiredUser>,
    /// Whether the mint may create or update the user from the caller's claims. [`JustInTime::Off`] if the caller mints
    /// for somebody else.
    pub just_in_time: JustInTime,
    allowed_roles: RoleSet,
    limits: IssuerLimits,
    /// The roles from the caller's claims that the policy forbids. Empty if the caller mints for somebody else.
    not_allowed: RoleSet,
}

/// What determined a token's lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlBy {
    /// The request.
    Request,
    /// The default lifetime, because the request names no lifetime.
    Default,
    /// The policy's maximum.
    Policy,
    /// The remaining lifetime of the caller's own token.
    CallersToken,
}

/// Why a mint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintRefusal {
    /// The caller's token contains neither of the two scopes for minting.
    #[error("the token lacks the scope {0}")]
    ScopeMissing(Scope),
    /// The caller's claims give no Flex username.
    #[error("the token's claims name no Flex username")]
    UsernameMissing,
    /// The username matches none of the patterns that the settings allow for this issuer.
    #[error("the username matches none of the issuer's patterns (usernames)")]
    UsernameOutside,
    /// The body names another user, and the caller lacks the scope for that.
    #[error("minting for somebody else needs the scope flexgate.token.any")]
    OtherUser,
    /// The request names a role that the policy forbids, or that this caller is not allowed to have.
    #[error("the role {0} is not the caller's to ask for")]
    RoleNotAllowed(Role),
    /// The caller's own token expires too soon: even a Flex token with the minimum lifetime would outlast it.
    #[error("the caller's token expires too soon")]
    ExpiresTooSoon,
}

/// Why Flexgate must not mint a token for a Flex user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The Flex user is deactivated.
    #[error("the Flex user is deactivated")]
    Deactivated,
    /// Twilio did not send the user's roles, so Flexgate cannot check them.
    #[error("the Flex user's roles are not known")]
    RolesUnknown,
    /// The user has a role that the policy does not allow, and the token would contain it.
    #[error("the Flex user has the role {0}, which is not allowed")]
    RoleNotAllowed(Role),
    /// The Flex user's username matches none of the patterns that the settings allow for this issuer.
    #[error("the Flex user's username matches none of the issuer's patterns (usernames)")]
    UsernameOutside,
    /// The user has roles that the request does not list, and the token would contain them.
    #[error("the Flex user has roles beyond those asked for")]
    BeyondAsked,
}

impl Policy {
    /// Decides whether `caller` may mint the token that `asked` requests. The token's lifetime is the shortest of
    /// three: the requested lifetime, the policy's maximum, and the remaining lifetime of the caller's own token.
    pub fn mint(&self, caller: &Caller, asked: MintRequest, now: OffsetDateTime) -> Result<MintGrant, MintRefusal> {
        let any = caller.scopes.grant(Scope::TokenAny);
        if !any && !caller.scopes.grant(Scope::Token) {
            return Err(MintRefusal::ScopeMissing(Scope::Token));
        }
        let (username, for_self) = match (asked.username, &caller.username) {
            (Some(named), Some(own)) if named == *own => (named, true),
            (Some(named), _) if any => (named, false),
            (Some(_), _) => return Err(MintRefusal::OtherUser),
            (None, Some(own)) => (own.clone(), true),
            (None, None) => return Err(MintRefusal::UsernameMissing),
        };
        if !caller.limits.allow(&username) {
            return Err(MintRefusal::UsernameOutside);
        }
        let entitled = if for_self { self.entitled(caller) } else { self.allowed_roles.clone() };
        if let Some(role) = asked.roles.iter().flatten().find(|role| !entitled.contains(role)) {
            return Err(MintRefusal::RoleNotAllowed(*role));
        }
        let (ttl, ttl_by) = self.lifetime(caller, asked.ttl, now)?;
        let just_in_time = if for_self { self.just_in_time } else { JustInTime::Off };
        let newcomer = match just_in_time {
            JustInTime::Off => None,
            JustInTime::Create | JustInTime::CreateAndSync => {
                just_in_time::newcomer(caller, &username, asked.roles.clone().unwrap_or(entitled))
            }
        };
        let (allowed_roles, limits) = (self.allowed_roles.clone(), caller.limits.clone());
        let not_allowed =
            if for_self { caller.roles.difference(&allowed_roles).copied().collect() } else { RoleSet::new() };
        Ok(MintGrant {
            username,
            for_self,
            ttl,
            ttl_by,
            only_roles: asked.roles,
            newcomer,
            just_in_time,
            allowed_roles,
            limits,
            not_allowed,
        })
    }

    /// Returns the first of `roles` that the policy does not allow.
    #[must_use]
    pub fn forbidden_role(&self, roles: &RoleSet) -> Option<Role> {
        roles.difference(&self.allowed_roles).next().copied()
    }

    /// Returns the allowed roles from the caller's claims. If the claims contain no role, returns the allowed default
    /// roles.
    fn entitled(&self, caller: &Caller) -> RoleSet {
        let claimed = if caller.roles.is_empty() { &self.default_roles } else { &caller.roles };
        claimed.intersection(&self.allowed_roles).copied().collect()
    }

    fn lifetime(
        &self,
        caller: &Caller,
        asked: Option<TokenTtl>,
        now: OffsetDateTime,
    ) -> Result<(TokenTtl, TtlBy), MintRefusal> {
        let remaining = (caller.expires_at - now).whole_seconds();
        let remaining = u64::try_from(remaining).unwrap_or(0).min(TokenTtl::MAX.seconds().into());
        let remaining = TokenTtl::from_seconds(remaining).map_err(|_| MintRefusal::ExpiresTooSoon)?;
        let wanted = asked.map_or((TokenTtl::DEFAULT, TtlBy::Default), |ttl| (ttl, TtlBy::Request));
        // If several limits are equal, the first one in this list counts. So if the caller gets the requested lifetime,
        // the result is `TtlBy::Request`.
        let limits = [wanted, (self.max_ttl, TtlBy::Policy), (remaining, TtlBy::CallersToken)];
        Ok(limits.into_iter().min_by_key(|(ttl, _)| *ttl).unwrap_or(wanted))
    }
}

impl MintGrant {
    /// Checks whether Flexgate may mint a token for `user`. The user must be active, have a username that the caller's
    /// issuer may use, and have no forbidden role. If the request lists the token's roles, the user must have no other
    /// role, not even one that Flexgate cannot give.
    pub fn admits(&self, user: &FlexUser) -> Result<(), NotAdmitted> {
        if !user.is_active() {
            return Err(NotAdmitted::Deactivated);
        }
        // An identity may be bound to a Flex user whose username differs from the username in the token. So check the
        // Flex user's username too.
        if !self.limits.allow(&user.username) {
            return Err(NotAdmitted::UsernameOutside);
        }
        let roles = user.roles.as_ref().ok_or(NotAdmitted::RolesUnknown)?;
        if let Some(role) = roles.known().difference(&self.allowed_roles).next() {
            return Err(NotAdmitted::RoleNotAllowed(*role));
        }
        match &self.only_roles {
            Some(only) if roles.exceed(only) => Err(NotAdmitted::BeyondAsked),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for MintGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.for_self { "for the caller" } else { "for a named user, by flexgate.token.any" })?;
        if let Some(only) = &self.only_roles {
            write!(f, ", narrowed to {}", role_names(only))?;
        }
        if !self.not_allowed.is_empty() {
            write!(f, ", without {} (not allowed)", role_names(&self.not_allowed))?;
        }
        let by = match self.ttl_by {
            TtlBy::Request => "as asked",
            TtlBy::Default => "the default",
            TtlBy::Policy => "the longest allowed",
            TtlBy::CallersToken => "the rest of the caller's token",
        };
        write!(f, ", {} ({by})", self.ttl)
    }
}
