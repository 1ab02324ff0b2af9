//! How Flexgate found a Flex user.

use std::fmt;

/// How Flexgate found the user. The `Display` form appears in the audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The user is bound to the caller's identity, and was in this process's cache.
    Remembered,
    /// Bound to the caller's identity.
    Bound,
    /// Bound, and updated from the caller's claims.
    Synced,
    /// The user has the caller's username, and is now bound to the caller's identity.
    ByUsername,
    /// Flexgate created the user and bound it.
    Created,
    /// A trusted service named the user by username.
    Named,
}

impl fmt::Display for MatchedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remembered => "bound and seen within a minute",
            Self::Bound => "bound",
            Self::Synced => "bound, updated from the claims",
            Self::ByUsername => "found by username and bound",
            Self::Created => "provisioned and bound",
            Self::Named => "found by username",
        })
    }
}
