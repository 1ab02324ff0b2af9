//! Events about people from an identity system, and the order that decides which of several events counts.
//!
//! The identity system delivers each event at least once, and events can arrive in any order. So each event has a
//! [`Moment`], which gives it a fixed place among all events. Events are ordered by the time at which they happened.
//! Among events with the same time, deactivations come last. If two events are still equal, their ids decide. The last
//! event in this order counts. So the same events lead to the same result, in whatever order they arrive and however
//! often each of them arrives.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::identity::Identity;
use super::name::{Email, FullName, Username};
use super::sid::FlexUserSid;

/// The maximum length of the identifier of an event or a person, in bytes.
pub const MAX_ID: usize = 256;

/// Why a string is not a valid identifier or source name. The error never contains the string itself.
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
    /// The source's id of the event. Unique within the source.
    EventId unless |text| !(1..=MAX_ID).contains(&text.len()) || text.chars().any(char::is_control) => Id;
    /// The source's id of the person. A source never reuses it for somebody else.
    SubjectId unless |text| !(1..=MAX_ID).contains(&text.len()) || text.chars().any(char::is_control) => Id;
    /// The configured name of the source that sent the event. It is also the last part of the path of the source's
    /// webhook.
    SourceName unless |text| {
        !(1..=32).contains(&text.len())
            || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    } => Source;
}

/// Makes an id for an event that has none: the number as 32 hexadecimal digits.
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
    /// The issuer, from the settings, whose tokens contain this `id` as their claim `sub`. `None` if the settings name
    /// no such issuer for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Box<str>>,
}

impl Subject {
    /// Returns the identity (issuer and subject) in this person's tokens. Returns `None` if there is no issuer.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity { issuer: self.issuer.clone()?, subject: self.id.as_str().into() })
    }
}

/// What the person should be in Flex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The person should be an active Flex user with the profile in the event.
    Upsert,
    /// If the person is an active Flex user, that user gets the profile in the event. Otherwise nothing changes.
    Refresh,
    /// An earlier deactivation by this source no longer counts. This alone does not make the person active: the
    /// person's memberships in the source's groups and applications decide.
    Restore,
    /// The person is not an active user.
    Deactivate,
}

/// The profile fields in the event. `None` means that the event does not mention the field, never that the field is
/// empty.
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
    /// The names of the person's roles, as the source sent them. Flexgate has not checked them. The policy decides
    /// which of them count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified_roles: Option<Vec<String>>,
}

/// One event about one person. Flexgate has verified that it comes from its source.
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
    /// Set only if the event is about a membership in a group or an application: the source's own id of that group or
    /// application. The membership has begun (`Upsert`) or ended (`Deactivate`). Other memberships are not affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Box<str>>,
    /// The source's own id of the directory or organisation that the person belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Box<str>>,
    /// Whether the event says only that the person has changed, but not how. Flexgate must then ask the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub look_up: bool,
}

impl IdentityEvent {
    /// Its place in the order.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { at: self.occurred_at, deactivates: self.action == Action::Deactivate, id: self.id.clone() }
    }
}

/// The place of an event in the order of events. Events are ordered by time. If the times are equal, a deactivation
/// comes after other events. If two events are still equal, their ids decide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether the event deactivates the person. If it does, it comes after all other events with the same time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deactivates: bool,
    /// Which event it was.
    pub id: EventId,
}

/// The events that an earlier version of Flexgate applied to one person, before the people ledger existed. Flexgate
/// still reads this record but no longer writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The latest event that said whether the person is active.
    pub status: Option<Moment>,
    /// The latest event that described the person's profile.
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
