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

/// A permission that a caller's token can contain. The issuer's setting `scope_claim` names the claim that lists the
/// permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `flexgate.token`: the caller may mint a token for themselves.
    Token,
    /// `flexgate.token.any`: the caller may mint a token for any user. Give this scope only to trusted services.
    TokenAny,
    /// `flexgate.users.read`: the caller may read Flex users.
    UsersRead,
    /// `flexgate.users.write`: the caller may provision and deprovision Flex users.
    UsersWrite,
    /// `flexgate.sessions.read`: the caller may see who is signed in.
    SessionsRead,
    /// `flexgate.sessions.write`: the caller may end sessions.
    SessionsWrite,
}

/// The string is not the name of a Flexgate scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a scope of Flexgate's, like flexgate.token")]
pub struct ScopeError;

impl Scope {
    /// Returns the scope's name, as it appears in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "flexgate.token",
            Self::TokenAny => "flexgate.token.any",
            Self::UsersRead => "flexgate.users.read",
            Self::UsersWrite => "flexgate.users.write",
            Self::SessionsRead => "flexgate.sessions.read",
            Self::SessionsWrite => "flexgate.sessions.write",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let all =
            [Self::Token, Self::TokenAny, Self::UsersRead, Self::UsersWrite, Self::SessionsRead, Self::SessionsWrite];
        all.into_iter().find(|scope| scope.as_str() == text).ok_or(ScopeError)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The Flexgate scopes in a token. Scopes of other services are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether this set contains `scope`.
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

/// A caller whose token has been verified. Only the module `authn` of the crate `flexgate` makes callers from tokens.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller's issuer and subject.
    pub identity: Identity,
    /// The Flexgate scopes in the caller's token.
    pub scopes: Scopes,
    /// The Flex username that Flexgate derives from the token's claims, as the settings describe. A service has no
    /// username.
    pub username: Option<Username>,
    /// The caller's e-mail address. `None` unless the issuer states that it has verified the address.
    pub verified_email: Option<Email>,
    /// The caller's full name.
    pub full_name: Option<FullName>,
    /// The Flex roles that Flexgate derives from the token's claims, as the settings describe. Can be empty.
    pub roles: RoleSet,
    /// The subject of the party that acts on the caller's behalf: the `sub` in the claim `act` (RFC 8693 §4.1). `None`
    /// if the token has no such claim.
    pub acts: Option<Box<str>>,
    /// The parts of the token that Flexgate could not use.
    pub unused: Unused,
    /// What the settings allow this caller's issuer.
    pub limits: IssuerLimits,
    /// When the token was issued. `None` if the token does not contain this time.
    pub issued_at: Option<OffsetDateTime>,
    /// When the caller's token expires.
    pub expires_at: OffsetDateTime,
}

/// The limits that the settings place on an issuer: which usernames its tokens may contain, and which Flex users its
/// callers may claim. To claim a Flex user is to mint a token for a user who is not yet bound to an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerLimits {
    /// Patterns for the usernames that the issuer's tokens may contain. An empty list allows all usernames.
    pub usernames: Arc<[UsernamePattern]>,
    /// The Flex users that the issuer's callers may claim. Nobody can claim a user who is already bound to an identity.
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

    #[test]
    fn scopes_are_printed_by_name() {
        assert_eq!(Scope::TokenAny.to_string(), "flexgate.token.any");
        let scopes: Scopes = ["flexgate.users.write", "openid", "flexgate.token"].into_iter().collect();
        assert_eq!(scopes.to_string(), "flexgate.token flexgate.users.write");
        assert_eq!(Scopes::default().to_string(), "none");
    }
}
