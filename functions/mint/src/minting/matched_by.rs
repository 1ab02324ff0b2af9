//! How a Flex user was found.

use std::fmt;

/// How Flexgate found the user. `Display` writes it for the audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The user is bound to the caller's identity. This process read the user from Twilio less than a minute ago.
    Remembered,
    /// Bound to the caller's identity.
    Bound,
    /// Bound, and updated from the caller's claims.
    Synced,
    /// Found by the caller's username, and now bound to their identity.
    ByUsername,
    /// No user was found, so a new one was provisioned and bound.
    Created,
    /// Found by the username that a trusted service gave.
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
