//! The caller, once their token has been verified.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::name::{Email, FullName, Username};
use super::role::RoleSet;

/// What a caller may ask for. Configuration says which claim carries these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `flexgate.token`: mint for yourself.
    Token,
    /// `flexgate.token.any`: mint for a user you name. For trusted services.
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
    /// The scope as it stands in a token.
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

/// The only key that identifies a person: issuer plus subject, never an e-mail address (CVE-2023-3128, "nOAuth": anyone
/// who can edit an e-mail field becomes that person).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The name of the configured issuer, which the verified token's `iss` matched.
    pub issuer: Box<str>,
    /// The `sub` of the verified token (for Entra, `tid` and `oid`).
    pub subject: Box<str>,
}

/// A verified caller. Only `authn` in `shared` makes one from a token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who the caller is.
    pub identity: Identity,
    /// What they may ask for.
    pub scopes: Scopes,
    /// The Flex username their issuer's claims map to. Services have none.
    pub username: Option<Username>,
    /// Their e-mail address, only if the issuer says that it verified it.
    pub verified_email: Option<Email>,
    /// Their full name.
    pub full_name: Option<FullName>,
    /// The Flex roles that their claims map to; empty if the issuer maps no roles.
    pub roles: RoleSet,
    /// When their token was issued, if it says so.
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
