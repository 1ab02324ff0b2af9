//! What an identity system says happened to a person, and which of several events counts.
//!
//! Events are delivered at least once and in any order. So each event has a place in one total order, its [`Moment`]:
//! by the event's own time, then deactivations last, then by id. The latest one counts, whatever the order of arrival:
//! applying the same events in any order, any number of times, ends in the same state.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::caller::Identity;
use super::name::{Email, FullName, Username};
use super::sid::FlexUserSid;

/// The longest identifier of an event or a subject, in bytes.
pub const MAX_ID: usize = 256;

/// Why a string is not what it was meant to be. Never holds the string itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventFieldError {
    /// An identifier.
    #[error("must have 1 to 256 bytes and no control characters")]
    Id,
    /// A source's name.
    #[error("must have 1 to 32 lower-case letters, digits and hyphens")]
    Source,
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident unless $wrong:expr => $error:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text, as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = EventFieldError;

            fn from_str(text: &str) -> Result<Self, EventFieldError> {
                let wrong: fn(&str) -> bool = $wrong;
                if wrong(text) { Err(EventFieldError::$error) } else { Ok(Self(text.into())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = EventFieldError;

            fn try_from(text: String) -> Result<Self, EventFieldError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

texts! {
    /// What the source calls the event. Unique within the source.
    EventId unless |text| !(1..=MAX_ID).contains(&text.len()) || text.chars().any(char::is_control) => Id;
    /// What the source calls the person. Never reused for somebody else.
    SubjectId unless |text| !(1..=MAX_ID).contains(&text.len()) || text.chars().any(char::is_control) => Id;
    /// The configured source that sent the event: the last part of its webhook's address.
    SourceName unless |text| {
        !(1..=32).contains(&text.len())
            || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    } => Source;
}

/// A generated id for an event that has none: 32 hexadecimal digits.
impl From<u128> for EventId {
    fn from(number: u128) -> Self {
        Self(format!("{number:032x}").into())
    }
}

/// The person whom an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The source's id for the person.
    pub id: SubjectId,
    /// The issuer whose tokens carry that same `id` as their `sub`, if the source has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Box<str>>,
}

impl Subject {
    /// The key under which tokens of the source's issuer know this person.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity { issuer: self.issuer.clone()?, subject: self.id.as_str().into() })
    }
}

/// What the person should be in Flex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The person is an active user, as the profile says.
    Upsert,
    /// If the person is an active user, the profile applies; otherwise nothing changes.
    Refresh,
    /// An earlier deactivation no longer counts. The person's memberships decide whether the person is active.
    Restore,
    /// The person is not an active user.
    Deactivate,
}

/// What the event says about the person. `None` means "not said", never "empty".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonProfile {
    /// The Flex username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<FullName>,
    /// The given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<FullName>,
    /// The family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<FullName>,
    /// Names of roles, unchecked: the policy decides which of them count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified_roles: Option<Vec<String>>,
}

/// One thing that happened to one person, verified to come from its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityEvent {
    /// The event.
    pub id: EventId,
    /// Who said it.
    pub source: SourceName,
    /// When it happened, by the source's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// The person it happened to.
    pub subject: Subject,
    /// What the event says about the person.
    #[serde(default)]
    pub profile: PersonProfile,
    /// What to do about it.
    pub action: Action,
    /// The group or application whose membership began (`Upsert`) or ended (`Deactivate`), by the source's own id. The
    /// person may have others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Box<str>>,
}

impl IdentityEvent {
    /// Its place in the order.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { at: self.occurred_at, deactivates: self.action == Action::Deactivate, id: self.id.clone() }
    }
}

/// A place in the order of events: by time, then deactivations last, then by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether the event deactivates. Among events at the same time, a deactivation wins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deactivates: bool,
    /// Which event it was.
    pub id: EventId,
}

/// What was applied to one person before the people ledger existed. Flexgate no longer writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The event that last said whether they are active.
    pub status: Option<Moment>,
    /// The event that last described their profile.
    pub profile: Option<Moment>,
    /// Their Flex user.
    pub user: Option<FlexUserSid>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_of_sources_are_short_and_plain(text in any::<String>()) {
            if let Ok(name) = text.parse::<SourceName>() {
                prop_assert!(name.as_str().len() <= 32 && name.as_str().is_ascii());
            }
        }
    }
}
