//! The verified caller of a request, and the scopes of the caller's token.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use time::OffsetDateTime;

use super::identity::Identity;
use super::ledger::MayClaim;
use super::name::{Email, FullName, Username};
use super::policy::UsernamePattern;
use super::role::RoleSet;
use super::unused::Unused;

/// A permission that a caller's token can carry. The configuration says which claim of the token lists the scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `flexgate.token`: mint for yourself.
    Token,
    /// `flexgate.token.any`: mint a token for any user that the request names. Only trusted services should have this
    /// scope.
    TokenAny,
    /// `flexgate.users.read`: look users up.
    UsersRead,
    /// `flexgate.users.write`: provision and deprovision.
    UsersWrite,
}

/// The string is not one of Flexgate's scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a scope of Flexgate's, like flexgate.token")]
pub struct ScopeError;

impl Scope {
    /// The scope as a token spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "flexgate.token",
            Self::TokenAny => "flexgate.token.any",
            Self::UsersRead => "flexgate.users.read",
            Self::UsersWrite => "flexgate.users.write",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        [Self::Token, Self::TokenAny, Self::UsersRead, Self::UsersWrite]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(ScopeError)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The Flexgate scopes that a token carries. Flexgate ignores the token's other scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether `scope` was granted.
    #[must_use]
    pub fn grant(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

/// The scopes, separated by spaces, or `none`.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(" "))
    }
}

impl<'a> FromIterator<&'a str> for Scopes {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        Self(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }
}

/// The caller of a request, whose token has been verified. Only the `authn` module of the crate `shared` creates
/// callers from tokens.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who the caller is.
    pub identity: Identity,
    /// What they may ask for.
    pub scopes: Scopes,
    /// The Flex username that the token's claims map to. A service has none.
    pub username: Option<Username>,
    /// The caller's e-mail address, if the issuer says that it has verified the address.
    pub verified_email: Option<Email>,
    /// Their full name.
    pub full_name: Option<FullName>,
    /// The Flex roles that the token's claims map to. Empty if no claims map to a role.
    pub roles: RoleSet,
    /// Who really acts, if the token says that it is not its subject: the `sub` in the claim `act` (RFC 8693 §4.1).
    pub acts: Option<Box<str>>,
    /// What Flexgate could not use of the token.
    pub unused: Unused,
    /// What the settings allow this caller's issuer.
    pub limits: IssuerLimits,
    /// When the token was issued, if the token says so.
    pub issued_at: Option<OffsetDateTime>,
    /// When their token expires.
    pub expires_at: OffsetDateTime,
}

/// What the settings allow an issuer, beyond what its tokens say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerLimits {
    /// The usernames that the issuer may use. If this is empty, it may use all.
    pub usernames: Arc<[UsernamePattern]>,
    /// The unbound Flex users that the issuer may claim.
    pub may_claim: Arc<MayClaim>,
}

impl IssuerLimits {
    /// Whether the issuer may use this username.
    #[must_use]
    pub fn allow(&self, username: &Username) -> bool {
        self.usernames.is_empty() || self.usernames.iter().any(|pattern| pattern.matches(username))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_keep_ours_and_drop_the_rest() {
        let scopes: Scopes = "openid flexgate.token flexgate.tokens FLEXGATE.USERS.READ".split(' ').collect();
        assert!(scopes.grant(Scope::Token));
        assert!(!scopes.grant(Scope::TokenAny));
        assert!(!scopes.grant(Scope::UsersRead));
    }
}
