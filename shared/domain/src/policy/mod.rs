//! The policy: decides who may mint a token, for which user, with which roles and for how long.
//!
//! The decision depends only on the verified caller, the request, the settings and the time. Whatever the policy does
//! not allow is refused, and an empty allow-list allows nobody. Every decision contains its reason for the audit log.

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

/// The configured policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The roles that Flexgate may give. `admin` is among them only if the operator opts in explicitly.
    pub allowed_roles: RoleSet,
    /// The roles of a user who is created just in time and whose claims map to no role.
    pub default_roles: RoleSet,
    /// Whether a mint may create or update the caller's Flex user.
    pub just_in_time: JustInTime,
    /// The longest lifetime of a minted token.
    pub max_ttl: TokenTtl,
}

/// What the body of `POST /token` asks for.
#[derive(Debug, Clone, Default)]
pub struct MintRequest {
    /// The lifetime.
    pub ttl: Option<TokenTtl>,
    /// The user to mint for, if not the caller.
    pub username: Option<Username>,
    /// The only roles the token may carry.
    pub roles: Option<RoleSet>,
}

/// A mint that the policy allows. `Display` prints which rules allowed it.
#[derive(Debug, Clone)]
pub struct MintGrant {
    /// The user to mint for.
    pub username: Username,
    /// Whether the caller mints for themselves.
    pub for_self: bool,
    /// How long the token lives.
    pub ttl: TokenTtl,
    /// What determined that lifetime.
    pub ttl_by: TtlBy,
    /// The only roles that the token may carry, if the request limits them.
    pub only_roles: Option<RoleSet>,
    /// The user to create if the username has no Flex user yet. `None` if the mint must not create one.
    pub newcomer: Option<DesiredUser>,
    /// What the mint may do to the user because of the caller's claims. [`JustInTime::Off`] if the caller mints for
    /// somebody else.
    pub just_in_time: JustInTime,
    allowed_roles: RoleSet,
    limits: IssuerLimits,
    /// The roles in the caller's claims that the policy allows nobody.
    not_allowed: RoleSet,
}

/// What determined a token's lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtlBy {
    /// The request.
    Request,
    /// The default lifetime, because the request asked for none.
    Default,
    /// The policy's maximum.
    Policy,
    /// The remaining lifetime of the caller's own token.
    CallersToken,
}

/// Why a mint is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintRefusal {
    /// The token carries neither minting scope.
    #[error("the token lacks the scope {0}")]
    ScopeMissing(Scope),
    /// The caller's claims map to no Flex username.
    #[error("the token's claims name no Flex username")]
    UsernameMissing,
    /// The issuer's settings do not allow it to use this username.
    #[error("the username matches none of the issuer's patterns (usernames)")]
    UsernameOutside,
    /// The body names somebody else.
    #[error("minting for somebody else needs the scope flexgate.token.any")]
    OtherUser,
    /// The request asks for a role that the caller's claims do not give them, or that the policy allows for nobody.
    #[error("the role {0} is not the caller's to ask for")]
    RoleNotAllowed(Role),
    /// The caller's own token is valid for less time than the shortest lifetime that a Flex token may have.
    #[error("the caller's token expires too soon")]
    ExpiresTooSoon,
}

/// Why Flexgate may not mint a token for a Flex user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// It is deprovisioned.
    #[error("the Flex user is deactivated")]
    Deactivated,
    /// Twilio did not send the user's roles, so Flexgate cannot check them.
    #[error("the Flex user's roles are not known")]
    RolesUnknown,
    /// The token would carry a role that the policy does not allow. An example is `admin`, if the operator has not
    /// allowed it explicitly.
    #[error("the Flex user has the role {0}, which is not allowed")]
    RoleNotAllowed(Role),
    /// The issuer's settings do not allow it to use the Flex user's username.
    #[error("the Flex user's username matches none of the issuer's patterns (usernames)")]
    UsernameOutside,
    /// The request limits the token to certain roles, and the token would also carry others.
    #[error("the Flex user has roles beyond those asked for")]
    BeyondAsked,
}

impl Policy {
    /// Decides whether `caller` may mint the token that the request asks for. Three things limit the token's lifetime:
    /// the request, the policy's maximum, and the remaining lifetime of the caller's own token. The shortest of them
    /// counts.
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

    /// The first of `roles` that the policy does not allow, if any.
    #[must_use]
    pub fn forbidden_role(&self, roles: &RoleSet) -> Option<Role> {
        roles.difference(&self.allowed_roles).next().copied()
    }

    /// The roles that the caller may get: those that the claims name, or the default roles if the claims name none.
    /// Roles that are not in the allow-list are left out.
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
        // If several limits are equal, report the first one in this list. So a caller who gets exactly the requested
        // lifetime sees that the request determined it.
        let limits = [wanted, (self.max_ttl, TtlBy::Policy), (remaining, TtlBy::CallersToken)];
        Ok(limits.into_iter().min_by_key(|(ttl, _)| *ttl).unwrap_or(wanted))
    }
}

impl MintGrant {
    /// Checks whether Flexgate may mint a token for `user`. The user must be active, must have a username that the
    /// caller's issuer may use, and must have no role that the policy forbids. If the request limits the token to certain roles, the user must have no other role. Roles that
    /// Flexgate does not know, such as `wfo.full_access`, matter only if there is such a limit.
    pub fn admits(&self, user: &FlexUser) -> Result<(), NotAdmitted> {
        if !user.is_active() {
            return Err(NotAdmitted::Deactivated);
        }
        // A bound user's username may differ from the one in the token.
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
