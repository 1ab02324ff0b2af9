//! Who may mint, for whom, with which roles, for how long.
//!
//! Pure: it is told the verified caller and what they ask for, and decides. Everything it does not
//! allow is refused; an empty allow-list allows nobody.

use time::OffsetDateTime;

use super::caller::{Caller, Scope};
use super::name::Username;
use super::role::{Role, RoleSet};
use super::ttl::TokenTtl;
use super::user::{DesiredUser, FlexUser};

/// Whether a caller whom Flex does not know yet is provisioned when they mint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JustInTime {
    /// They are refused.
    #[default]
    Off,
    /// They are provisioned from their verified claims.
    Create,
}

/// The configured policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The roles Flexgate may give at all. `admin` is in it only by explicit opt-in.
    pub allowed_roles: RoleSet,
    /// The roles of a user provisioned just in time whose claims map to none.
    pub default_roles: RoleSet,
    /// What happens to a caller whom Flex does not know.
    pub just_in_time: JustInTime,
    /// The longest lifetime of a minted token.
    pub max_ttl: TokenTtl,
}

/// What the body of `POST /token` asks for.
#[derive(Debug, Clone, Default)]
pub struct MintRequest {
    /// The lifetime.
    pub ttl: Option<TokenTtl>,
    /// For whom, if not for the caller.
    pub username: Option<Username>,
    /// The only roles the token may carry.
    pub roles: Option<RoleSet>,
}

/// A mint that the policy allows.
#[derive(Debug, Clone)]
pub struct MintGrant {
    /// For whom.
    pub username: Username,
    /// Whether the caller mints for themselves.
    pub for_self: bool,
    /// How long the token lives.
    pub ttl: TokenTtl,
    /// The only roles the token may carry, if the caller narrowed them.
    pub only_roles: Option<RoleSet>,
    /// The user to provision if Flex does not know them; `None` if that is not allowed.
    pub provision: Option<DesiredUser>,
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
    /// The body names somebody else.
    #[error("minting for somebody else needs the scope flexgate.token.any")]
    OtherUser,
    /// The body asks for a role the caller does not have or nobody may be given.
    #[error("the role {0} is not the caller's to ask for")]
    RoleNotAllowed(Role),
    /// The caller's own token expires before the shortest lifetime.
    #[error("the caller's token expires too soon")]
    ExpiresTooSoon,
}

impl Policy {
    /// Decides what `caller` may mint, given what they ask for. The lifetime is the one asked for,
    /// but never past the policy's longest nor past the caller's own token.
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
        let entitled = if for_self { self.entitled(caller) } else { self.allowed_roles.clone() };
        if let Some(role) = asked.roles.iter().flatten().find(|role| !entitled.contains(role)) {
            return Err(MintRefusal::RoleNotAllowed(*role));
        }
        let provision = match self.just_in_time {
            JustInTime::Create if for_self => desired(caller, &username, asked.roles.clone().unwrap_or(entitled)),
            JustInTime::Create | JustInTime::Off => None,
        };
        Ok(MintGrant {
            username,
            for_self,
            ttl: self.lifetime(caller, asked.ttl, now)?,
            only_roles: asked.roles,
            provision,
        })
    }

    /// The first of these roles that Flexgate may not give, if any.
    #[must_use]
    pub fn forbidden_role(&self, roles: &RoleSet) -> Option<Role> {
        roles.iter().find(|role| !self.allowed_roles.contains(role)).copied()
    }

    /// The roles the caller's claims entitle them to: never more than the allow-list.
    fn entitled(&self, caller: &Caller) -> RoleSet {
        let claimed = if caller.roles.is_empty() { &self.default_roles } else { &caller.roles };
        claimed.intersection(&self.allowed_roles).copied().collect()
    }

    fn lifetime(&self, caller: &Caller, asked: Option<TokenTtl>, now: OffsetDateTime) -> Result<TokenTtl, MintRefusal> {
        let remaining = (caller.expires_at - now).whole_seconds();
        let remaining = u64::try_from(remaining).unwrap_or(0).min(TokenTtl::MAX.seconds().into());
        let remaining = TokenTtl::from_seconds(remaining).map_err(|_| MintRefusal::ExpiresTooSoon)?;
        Ok(asked.unwrap_or(TokenTtl::DEFAULT).min(self.max_ttl).min(remaining))
    }
}

impl MintGrant {
    /// Whether the Flex user found may be minted for: active, and with no role beyond those asked for.
    #[must_use]
    pub fn admits(&self, user: &FlexUser) -> bool {
        let roles_fit = match (&self.only_roles, &user.roles) {
            (None, _) => true,
            (Some(only), Some(roles)) => !roles.exceed(only),
            (Some(_), None) => false,
        };
        !user.is_deactivated() && roles_fit
    }
}

/// The user to provision just in time, if the verified claims say enough.
fn desired(caller: &Caller, username: &Username, roles: RoleSet) -> Option<DesiredUser> {
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

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::domain::Identity;

    const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

    fn policy() -> Policy {
        Policy {
            allowed_roles: [Role::Agent, Role::Supervisor].into(),
            default_roles: [Role::Agent].into(),
            just_in_time: JustInTime::Create,
            max_ttl: TokenTtl::DEFAULT,
        }
    }

    fn caller(scopes: &str, roles: &[Role]) -> Caller {
        Caller {
            identity: Identity { issuer: "https://idp.example".into(), subject: "1".into() },
            scopes: scopes.split(' ').collect(),
            username: Some("ada".parse().unwrap()),
            verified_email: Some("ada@example.com".parse().unwrap()),
            full_name: Some("Ada Lovelace".parse().unwrap()),
            roles: roles.iter().copied().collect(),
            expires_at: NOW + Duration::hours(2),
        }
    }

    fn named(username: &str) -> MintRequest {
        MintRequest { username: Some(username.parse().unwrap()), ..MintRequest::default() }
    }

    #[test]
    fn a_caller_mints_for_themselves() {
        let grant = policy().mint(&caller("flexgate.token", &[]), MintRequest::default(), NOW).unwrap();
        assert!(grant.for_self);
        assert_eq!(grant.ttl, TokenTtl::DEFAULT);
        assert_eq!(grant.provision.unwrap().roles, [Role::Agent].into());
    }

    #[test]
    fn naming_somebody_else_needs_the_scope() {
        let refused = policy().mint(&caller("flexgate.token", &[]), named("grace"), NOW);
        assert_eq!(refused.unwrap_err(), MintRefusal::OtherUser);
        let grant = policy().mint(&caller("flexgate.token.any", &[]), named("grace"), NOW).unwrap();
        assert!(!grant.for_self && grant.provision.is_none());
    }

    #[test]
    fn without_a_scope_nobody_mints() {
        let refused = policy().mint(&caller("openid", &[]), MintRequest::default(), NOW);
        assert_eq!(refused.unwrap_err(), MintRefusal::ScopeMissing(Scope::Token));
    }

    #[test]
    fn a_role_beyond_the_claims_or_the_allow_list_is_refused() {
        for (claimed, asked) in [(Role::Agent, Role::Supervisor), (Role::Admin, Role::Admin)] {
            let asked_for = MintRequest { roles: Some([asked].into()), ..MintRequest::default() };
            let refused = policy().mint(&caller("flexgate.token", &[claimed]), asked_for, NOW);
            assert_eq!(refused.unwrap_err(), MintRefusal::RoleNotAllowed(asked));
        }
    }

    #[test]
    fn an_empty_allow_list_provisions_nobody() {
        let policy = Policy { allowed_roles: RoleSet::new(), ..policy() };
        let grant = policy.mint(&caller("flexgate.token", &[Role::Agent]), MintRequest::default(), NOW).unwrap();
        assert_eq!(grant.provision, None);
    }

    #[test]
    fn a_token_never_outlives_its_callers() {
        let mut soon = caller("flexgate.token", &[]);
        soon.expires_at = NOW + Duration::minutes(10);
        let grant = policy().mint(&soon, MintRequest { ttl: Some(TokenTtl::MAX), ..MintRequest::default() }, NOW);
        assert_eq!(grant.unwrap().ttl.seconds(), 600);
        soon.expires_at = NOW + Duration::seconds(5);
        let refused = policy().mint(&soon, MintRequest::default(), NOW);
        assert_eq!(refused.unwrap_err(), MintRefusal::ExpiresTooSoon);
    }
}
