//! The record of when an identity system or an administrator last ended all of a person's sessions.
//!
//! This record stays after the sessions are gone. So Flexgate can also refuse a session that was missing from the list
//! when the others were ended, and a token that was issued before that time.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{StoreError, fingerprint};
use crate::domain::{FlexUserSid, Identity, UsernameKey};

/// A key that identifies the person whose sessions ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndingKey {
    /// The person's Flex user.
    FlexUser(FlexUserSid),
    /// The person's username, in any case.
    Username(UsernameKey),
    /// The person's identity at an issuer of tokens.
    Identity(Identity),
}

impl EndingKey {
    /// Returns the key in the store. It is a digest, so it reveals neither the username nor the subject.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::FlexUser(user) => fingerprint(&["flex_user", user.as_str()]),
            Self::Username(key) => fingerprint(&["username", key.as_str()]),
            Self::Identity(identity) => fingerprint(&["identity", &identity.issuer, &identity.subject]),
        }
    }
}

/// A person's sessions that began at this time or earlier have ended. `None` if nobody has ever ended all of the
/// person's sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedUntil(pub Option<OffsetDateTime>);

impl EndedUntil {
    /// Whether a session or a token that began at `began_at` has ended. If `began_at` is unknown, the session or token
    /// has ended if anybody has ever ended all of the person's sessions.
    #[must_use]
    pub fn ends(self, began_at: Option<OffsetDateTime>) -> bool {
        self.0.is_some_and(|ended_until| began_at.is_none_or(|began_at| began_at <= ended_until))
    }
}

/// Stores when people's sessions ended. A record is never deleted, because Flexgate does not know how long an issuer's
/// tokens are valid. The records need little space, because each key has only one small record.
#[async_trait]
pub trait SessionEndings: fmt::Debug + Send + Sync {
    /// Records that all sessions that began at `until` or earlier have ended. A time earlier than the stored one
    /// changes nothing, so the order of calls does not matter.
    async fn record_ending(&self, keys: &[EndingKey], until: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the latest time that is stored under any of the keys.
    async fn ended_until(&self, keys: &[EndingKey]) -> Result<EndedUntil, StoreError>;
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_ending_concerns_what_began_before_it_or_at_its_time_or_at_an_unknown_time() {
        let at = datetime!(2026-03-01 12:00 UTC);
        let ended = EndedUntil(Some(at));
        for (began_at, ends) in [
            (Some(at - time::Duration::SECOND), true),
            (Some(at), true),
            (Some(at + time::Duration::SECOND), false),
            (None, true),
        ] {
            assert_eq!(ended.ends(began_at), ends, "{began_at:?}");
            assert!(!EndedUntil(None).ends(began_at), "without an ending, everything goes on");
        }
    }
}
