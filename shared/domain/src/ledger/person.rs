//! A person in the ledger.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::source::Source;
use super::statement::Statement;
use crate::event::SubjectId;
use crate::name::Username;
use crate::role::RoleSet;
use crate::sid::FlexUserSid;
use crate::user::WorkerAttributes;

/// Identifies a person: 32 random hexadecimal digits. A Flex SID cannot do this: statements can come before the Flex
/// user exists, and a reactivated user may get another SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonId(u128);

/// The text is not a person's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 32 hexadecimal digits in lower case")]
pub struct PersonIdError;

impl PersonId {
    /// The id made of 16 random bytes.
    #[must_use]
    pub fn of(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for PersonId {
    type Err = PersonIdError;

    fn from_str(text: &str) -> Result<Self, PersonIdError> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(digits) {
            return Err(PersonIdError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| PersonIdError)
    }
}

impl TryFrom<String> for PersonId {
    type Error = PersonIdError;

    fn try_from(text: String) -> Result<Self, PersonIdError> {
        text.parse()
    }
}

impl From<PersonId> for String {
    fn from(id: PersonId) -> Self {
        id.to_string()
    }
}

/// Which roles Flexgate has given to a person, and which it has taken back. Flexgate writes this before it sends
/// anything to Twilio, so that a crash leaves no role behind that is not on record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// Roles that Flexgate gives: a source names them, or they are the default roles.
    pub roles: RoleSet,
    /// Roles that Flexgate gave and no source names any more. If Flex shows one again, it is drift, not made by hand.
    pub taken: RoleSet,
    /// The worker attributes that were last sent. Flex does not show them, so Flexgate compares with these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<WorkerAttributes>,
    /// The person's version that Flex was last brought in step with. A later statement has a higher version.
    #[serde(skip_serializing_if = "is_zero")]
    pub settled_at: u64,
    /// The person took over somebody else's username. Everything that Flex shows is the previous owner's until Flexgate
    /// has provisioned this person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub taking_over: bool,
    /// When this person took the username over from somebody else. A token that was issued before may be the previous
    /// owner's.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub owner_since: Option<OffsetDateTime>,
    /// When a mint first asked Twilio to create the user; `None` once the ledger knows the user. Twilio's answer can
    /// get lost, and the request is then repeated: a user who is older than this already belonged to somebody, and one
    /// who is not belongs to this person.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub asked_since: Option<OffsetDateTime>,
    /// How often Flexgate has repaired what somebody else changed in Flex, since a source last said something.
    #[serde(skip_serializing_if = "Repairs::is_none")]
    pub repairs: Repairs,
}

/// Counts repairs of differences that no source caused. They show that something else writes to Flex too, such as
/// Twilio's SSO, which sets roles at each login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repairs {
    /// How many repairs.
    pub count: u32,
    /// When the first of them was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
}

impl Repairs {
    /// The most repairs that Flexgate makes. A difference that comes back after that is what somebody wants, so
    /// Flexgate only reports it.
    pub const MOST: u32 = 2;

    /// How long repairs count, from the first one.
    pub const COUNT_FOR: Duration = Duration::days(30);

    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The repairs that still count at `now`.
    #[must_use]
    pub fn counting(self, now: OffsetDateTime) -> Self {
        if self.since.is_some_and(|since| since + Self::COUNT_FOR > now) { self } else { Self::default() }
    }

    /// The repairs including one more at `now`; `None` if it must not be made, because there were [`Self::MOST`]
    /// already.
    #[must_use]
    pub fn another(self, now: OffsetDateTime) -> Option<Self> {
        let Self { count, since } = self.counting(now);
        (count < Self::MOST).then(|| Self { count: count + 1, since: since.or(Some(now)) })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A person: what every source says about them, and what Flexgate has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Identifies the person.
    pub id: PersonId,
    /// The Flex username, spelled as in Flex if Flex has the user.
    pub username: Username,
    /// The current Flex user, once there is one.
    pub flex_user_sid: Option<FlexUserSid>,
    /// What each source says.
    pub statements: BTreeMap<Source, Statement>,
    /// What each source calls the person, if it has ids of its own for people.
    pub subjects: BTreeMap<Source, SubjectId>,
    /// What Flexgate has given.
    pub given: Given,
    /// Somebody else has taken over the username, and the Flex user with it. Nothing belongs to this person any more.
    pub superseded: bool,
    /// Counts the writes; 0 for a person who is not stored yet.
    pub version: u64,
}

impl Person {
    /// A person about whom nothing is known but the username.
    #[must_use]
    pub fn new(id: PersonId, username: Username) -> Self {
        let (statements, subjects) = (BTreeMap::new(), BTreeMap::new());
        let given = Given::default();
        Self { id, username, flex_user_sid: None, statements, subjects, given, superseded: false, version: 0 }
    }

    /// A new person who takes over the username, and about whom no source has said anything. Flexgate may change the
    /// Flex user for them, but nothing that Flex shows is theirs.
    #[must_use]
    pub fn successor(&self, id: PersonId, now: OffsetDateTime) -> Self {
        let given = Given { taking_over: true, owner_since: Some(now), ..Given::default() };
        Self { flex_user_sid: self.flex_user_sid.clone(), given, ..Self::new(id, self.username.clone()) }
    }

    /// Whether Flex is in step with everything that sources say.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.version > 0 && self.given.settled_at == self.version
    }

    /// The sources that say the person is active. Groups and claims do not count: they cannot say it.
    pub fn active_by(&self) -> impl Iterator<Item = &Source> {
        self.saying(true)
    }

    /// The sources that say the person is inactive. Groups and claims do not count: they cannot say it.
    pub fn inactive_by(&self) -> impl Iterator<Item = &Source> {
        self.saying(false)
    }

    fn saying(&self, active: bool) -> impl Iterator<Item = &Source> {
        let may_say = self.statements.iter().filter(|(source, _)| source.may_say_active());
        may_say.filter_map(move |(source, said)| (said.says_active() == Some(active)).then_some(source))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_repairs_are_made_in_thirty_days() {
        let day = |day: i64| OffsetDateTime::UNIX_EPOCH + Duration::days(day);
        let one = Repairs::default().another(day(0)).unwrap();
        let two = one.another(day(1)).unwrap();
        assert_eq!((two.count, two.since), (2, Some(day(0))));
        assert_eq!(two.another(day(29)), None);
        assert_eq!(two.another(day(30)).unwrap(), Repairs { count: 1, since: Some(day(30)) });
    }

    proptest! {
        #[test]
        fn a_person_is_named_by_32_digits(random in any::<[u8; 16]>(), text in any::<String>()) {
            let id = PersonId::of(random);
            prop_assert_eq!(id.to_string().parse::<PersonId>(), Ok(id));
            prop_assert!(text.len() == 32 || text.parse::<PersonId>().is_err());
        }
    }
}
