//! The verified caller of a request, and the scopes of the caller's token.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::name::{Email, FullName, Username};
use super::role::RoleSet;

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

impl<'a> FromIterator<&'a str> for Scopes {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        Self(names.into_iter().filter_map(|name| name.parse().ok()).collect())
    }
}

/// The key that identifies a person: the issuer and the subject. An e-mail address must never be the key. If it were,
/// anyone who can edit their own address at the issuer could pose as somebody else (CVE-2023-3128, "nOAuth").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The issuer of the verified token: its `iss` as the settings spell it.
    pub issuer: Box<str>,
    /// The `sub` of the verified token. For Entra, the token's `tid` and `oid`.
    pub subject: Box<str>,
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
    /// When the token was issued, if the token says so.
    pub issued_at: Option<OffsetDateTime>,
    /// When their token expires.
    pub expires_at: OffsetDateTime,
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
