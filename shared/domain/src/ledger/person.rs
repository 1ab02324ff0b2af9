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

/// The ledger's id of a person: 32 random hexadecimal digits. A Flex SID cannot be the id, for two reasons. A source
/// can mention a person before the Flex user exists, and a reactivated user may get another SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonId(u128);

/// The text is not a person's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 32 hexadecimal digits in lower case")]
pub struct PersonIdError;

impl PersonId {
    /// The id made from 16 random bytes.
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

/// Flexgate's own record about a person. It contains the roles that Flexgate has given, the roles that Flexgate has
/// taken back, and other data for reconciling. Flexgate stores this record before it sends a change to Twilio. So even
/// after a crash, every role that Flexgate gave is in the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// Roles that Flexgate gives, because a source names them or because they are the default roles.
    pub roles: RoleSet,
    /// Roles that Flexgate gave earlier and that no source names any more. If Flex shows one of them again, Flexgate
    /// removes it. A role that is not in this set counts as set by hand, and stays.
    pub taken: RoleSet,
    /// The worker attributes that Flexgate sent last. Flex does not return attributes. So Flexgate finds out what has
    /// changed by comparing new attributes with these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<WorkerAttributes>,
    /// The value of [`Person::version`] when the Flex user was last reconciled. A later statement increases the
    /// person's version. The difference then shows that the person must be reconciled again.
    #[serde(skip_serializing_if = "is_zero")]
    pub settled_at: u64,
    /// Whether this person has taken over somebody else's username but Flexgate has not provisioned this person yet. As
    /// long as this is true, everything that Flex shows belongs to the previous owner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub taking_over: bool,
    /// When this person took over the username from somebody else. A token that was issued before this time may belong
    /// to the previous owner.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub owner_since: Option<OffsetDateTime>,
    /// When a mint first asked Twilio to create the Flex user. `None` once the ledger knows the user. If Twilio's
    /// answer gets lost, Flexgate repeats the request and compares this time with the user's creation date. A user who
    /// was created before this time belonged to somebody else. A user who was created later was created for this
    /// person.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub asked_since: Option<OffsetDateTime>,
    /// How often Flexgate has undone a change that somebody else made in Flex. The count restarts when a source says
    /// something new.
    #[serde(skip_serializing_if = "Repairs::is_none")]
    pub repairs: Repairs,
}

/// Counts repairs of differences between Flex and the ledger that no statement caused. Such a difference shows that
/// something other than Flexgate also changes the user in Flex. One example is Twilio's SSO, which sets roles at each
/// login.
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
    /// The maximum number of repairs. If the difference comes back after that many repairs, Flexgate only reports the
    /// difference, because somebody seems to want it.
    pub const MOST: u32 = 2;

    /// How long repairs are counted, from the first one on. After that time, the count restarts at zero.
    pub const COUNT_FOR: Duration = Duration::days(30);

    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The count at `now`, or zero if it has expired.
    #[must_use]
    pub fn counting(self, now: OffsetDateTime) -> Self {
        if self.since.is_some_and(|since| since + Self::COUNT_FOR > now) { self } else { Self::default() }
    }

    /// The count with one more repair at `now`. `None` if there have been [`Self::MOST`] repairs already, so that
    /// Flexgate must not repair again.
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

/// A person in the ledger: what every source says about them, and what Flexgate has given to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Identifies the person.
    pub id: PersonId,
    /// The Flex username. If there is a Flex user, this is the spelling in Flex.
    pub username: Username,
    /// The current Flex user, once there is one.
    pub flex_user_sid: Option<FlexUserSid>,
    /// What each source says.
    pub statements: BTreeMap<Source, Statement>,
    /// The id that each source has for the person. Sources without ids for people have no entry.
    pub subjects: BTreeMap<Source, SubjectId>,
    /// What Flexgate has given.
    pub given: Given,
    /// Whether somebody else has taken over this person's username and Flex user. If so, this person has neither of
    /// them any more.
    pub superseded: bool,
    /// How often this person has been written to the store. 0 for a person who is not stored yet.
    pub version: u64,
}

impl Person {
    /// A person about whom only the username is known.
    #[must_use]
    pub fn new(id: PersonId, username: Username) -> Self {
        let (statements, subjects) = (BTreeMap::new(), BTreeMap::new());
        let given = Given::default();
        Self { id, username, flex_user_sid: None, statements, subjects, given, superseded: false, version: 0 }
    }

    /// Creates the person who takes over this person's username. No source has said anything about the new person yet.
    /// The new person gets the Flex user, but inherits neither the profile nor the roles that Flex shows.
    #[must_use]
    pub fn successor(&self, id: PersonId, now: OffsetDateTime) -> Self {
        let given = Given { taking_over: true, owner_since: Some(now), ..Given::default() };
        Self { flex_user_sid: self.flex_user_sid.clone(), given, ..Self::new(id, self.username.clone()) }
    }

    /// Whether the Flex user has been reconciled since the last statement about the person.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.version > 0 && self.given.settled_at == self.version
    }

    /// The sources that say the person is active. SCIM groups and claims are left out, because they cannot say whether
    /// a person is active.
    pub fn active_by(&self) -> impl Iterator<Item = &Source> {
        self.saying(true)
    }

    /// The sources that say the person is inactive. SCIM groups and claims are left out, because they cannot say
    /// whether a person is active.
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
