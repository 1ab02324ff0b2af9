//! Events that an identity system sends about people.
//!
//! An identity system can deliver the same event several times, and can deliver events in any order. So each event has
//! a [`Moment`], and Flexgate orders events by their moments instead of by their arrival.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::identity::Identity;
use super::name::{Email, FullName, Username};
use super::sid::FlexUserSid;

/// The maximum length of an event's id or a person's id, in bytes.
pub const MAX_ID: usize = 256;

/// Why a string is not a valid id or source name. The error never contains the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventFieldError {
    /// The string is not a valid id.
    #[error("must have 1 to 256 bytes and no control characters")]
    Id,
    /// The string is not a valid source name.
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
            /// Returns the text unchanged.
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
    /// The source's id for the event. No two events of one source have the same id.
    EventId unless |text| !(1..=MAX_ID).contains(&text.len()) || text.chars().any(char::is_control) => Id;
    /// The source's id for a person. A source never uses the same id for two people.
    SubjectId unless |text| !(1..=MAX_ID).contains(&text.len()) || text.chars().any(char::is_control) => Id;
    /// The configured name of a webhook source. The URL of the source's webhook ends with this name.
    SourceName unless |text| {
        !(1..=32).contains(&text.len())
            || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    } => Source;
}

/// Makes an event id from a number: 32 hexadecimal digits.
impl From<u128> for EventId {
    fn from(number: u128) -> Self {
        Self(format!("{number:032x}").into())
    }
}

/// The person whom an event describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The source's id for the person.
    pub id: SubjectId,
    /// The issuer whose tokens contain `id` in the claim `sub`. `None` if no such issuer is configured for the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Box<str>>,
}

impl Subject {
    /// Returns the identity (issuer and subject) in this person's tokens, or `None` if `issuer` is `None`.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity { issuer: self.issuer.clone()?, subject: self.id.as_str().into() })
    }
}

/// The change that an event requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make the person an active Flex user with the profile in the event.
    Upsert,
    /// Update the profile of an active Flex user. Change nothing if the person is not an active Flex user.
    Refresh,
    /// Cancel this source's earlier deactivation of the person. The person's memberships in the source's groups and
    /// applications then decide whether the person is active.
    Restore,
    /// Deactivate the person.
    Deactivate,
    /// End the person's sessions that began at the time of the event or earlier. The person keeps their access, and may
    /// sign in again.
    EndSessions,
}

/// The profile fields in an event. `None` means that the event does not mention the field.
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
    /// The names of the person's roles as the source sent them. Flexgate has not checked these names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified_roles: Option<Vec<String>>,
}

/// One event about one person. Flexgate has verified that its source sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityEvent {
    /// The source's id for the event.
    pub id: EventId,
    /// The source that sent the event.
    pub source: SourceName,
    /// When the event happened. Usually the source states this time. If the source states a time in the future, this is
    /// the time of receipt.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// The person whom the event describes.
    pub subject: Subject,
    /// The person's profile in the event.
    #[serde(default)]
    pub profile: PersonProfile,
    /// The change that the event requests.
    pub action: Action,
    /// The source's id for a group or an application. `Some` only for an event about one membership: `Upsert` begins
    /// the membership, and `Deactivate` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Box<str>>,
    /// The source's id for the person's directory or organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Box<str>>,
    /// Whether the event omits the changed values, so that Flexgate must request them from the source.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub look_up: bool,
}

impl IdentityEvent {
    /// Returns the event's position in the order of events.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { at: self.occurred_at, deactivates: self.action == Action::Deactivate, id: self.id.clone() }
    }
}

/// An event's position in the order of events. Events are ordered by time. Among events with the same time,
/// deactivations come last, and the event ids determine the rest of the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// When the event happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whether the event deactivates the person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deactivates: bool,
    /// The id of the event.
    pub id: EventId,
}

/// The latest events about one person, as versions of Flexgate before 0.2.0 recorded them. Flexgate still reads this
/// record but no longer writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The latest event about whether the person is active.
    pub status: Option<Moment>,
    /// The latest event about the person's profile.
    pub profile: Option<Moment>,
    /// The person's Flex user.
    pub user: Option<FlexUserSid>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(action: Action, issuer: Option<&str>) -> IdentityEvent {
        IdentityEvent {
            id: "e-1".parse().unwrap(),
            source: "okta".parse().unwrap(),
            occurred_at: OffsetDateTime::UNIX_EPOCH,
            subject: Subject { id: "u-1".parse().unwrap(), issuer: issuer.map(Into::into) },
            profile: PersonProfile::default(),
            action,
            membership: None,
            directory: None,
            look_up: false,
        }
    }

    #[test]
    fn only_an_event_that_deactivates_counts_after_others_of_its_time() {
        for action in [Action::Upsert, Action::Refresh, Action::Restore] {
            assert!(event(action, None).moment() < event(Action::Deactivate, None).moment(), "{action:?}");
        }
    }

    #[test]
    fn a_subject_has_an_identity_where_its_issuer_is_known() {
        assert_eq!(event(Action::Upsert, None).subject.identity(), None);
        let identity = Identity { issuer: "https://idp.example".into(), subject: "u-1".into() };
        assert_eq!(event(Action::Upsert, Some("https://idp.example")).subject.identity(), Some(identity));
    }

    proptest! {
        #[test]
        fn names_of_sources_are_short_and_plain(text in any::<String>()) {
            if let Ok(name) = text.parse::<SourceName>() {
                prop_assert!(name.as_str().len() <= 32 && name.as_str().is_ascii());
            }
        }
    }
}
