//! The record of when an identity system ended a person's sessions.
//!
//! The record outlives the sessions. So a session that the list of sessions lacks, or a token that a person got before
//! that time, is refused too.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{StoreError, fingerprint};
use crate::domain::{FlexUserSid, Identity, UsernameKey};

/// Something by which Flexgate recognises the person whose sessions ended.
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

/// The time up to which a person's sessions have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedUntil(pub Option<OffsetDateTime>);

impl EndedUntil {
    /// Whether the ending concerns a session or a token that began at `began_at`. If nobody knows when it began, the
    /// ending concerns it.
    #[must_use]
    pub fn ends(self, began_at: Option<OffsetDateTime>) -> bool {
        self.0.is_some_and(|ended_until| began_at.is_none_or(|began_at| began_at <= ended_until))
    }
}

/// The endings of sessions. A record stays forever, because nobody knows how long the tokens of an issuer live. It is
/// small, and there is one for each key.
#[async_trait]
pub trait SessionEndings: fmt::Debug + Send + Sync {
    /// Records that all sessions that began at `until` or earlier have ended. An earlier time than the stored one changes
    /// nothing, so the order of endings does not matter.
    async fn record_ending(&self, keys: &[EndingKey], until: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the latest ending that is stored under any of the keys.
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
