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

/// The ledger's id for a person: 32 random hexadecimal digits. The ledger cannot use the Flex SID as the id, because
/// the person can exist before the Flex user does, and because a reactivated user may get another SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonId(u128);

/// The text is not a person's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 32 hexadecimal digits in lower case")]
pub struct PersonIdError;

impl PersonId {
    /// Makes an id from 16 random bytes.
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

/// What Flexgate records about its own changes to a person, such as the roles that it has given and taken back.
/// Flexgate stores this record before it sends a change to Twilio. So even after a crash, Flexgate knows which roles it
/// gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Given {
    /// The roles that Flexgate gives: roles that a source names, or the default roles.
    pub roles: RoleSet,
    /// The roles that Flexgate gave earlier and that no source names now. Flexgate removes such a role whenever Flex
    /// shows it. A role that is neither here nor in `roles` counts as set by hand.
    pub taken: RoleSet,
    /// The worker attributes in Flexgate's latest provisioning request. Flex does not return attributes, so Flexgate
    /// compares new attributes with these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<WorkerAttributes>,
    /// The value of [`Person::version`] at the last reconciliation. A later statement increases the person's version.
    /// If the two values differ, the person must be reconciled again.
    #[serde(skip_serializing_if = "is_zero")]
    pub settled_at: u64,
    /// Whether this person has taken over somebody else's username and is not provisioned yet. While this is true,
    /// everything that Flex shows belongs to the previous owner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub taking_over: bool,
    /// When this person took over the username from somebody else. A token that was issued earlier may belong to the
    /// previous owner.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub owner_since: Option<OffsetDateTime>,
    /// When a mint first asked Twilio to create the Flex user. `None` once the ledger knows the user.
    ///
    /// If Twilio's answer is lost, Flexgate repeats the request and compares this time with the user's creation date.
    /// A user who was created earlier belongs to somebody else.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub asked_since: Option<OffsetDateTime>,
    /// How often Flexgate has undone changes that somebody else made to this person's Flex user. A new statement from a
    /// source resets the count.
    #[serde(skip_serializing_if = "Repairs::is_none")]
    pub repairs: Repairs,
}

/// Counts how often Flexgate has undone changes that somebody else made in Flex. For example, Twilio's SSO sets roles
/// at each login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repairs {
    /// The number of repairs.
    pub count: u32,
    /// When the first of the counted repairs was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
}

impl Repairs {
    /// The maximum number of repairs. If the Flex user differs from the ledger again after that, Flexgate only reports
    /// the difference.
    pub const MOST: u32 = 2;

    /// The count of repairs expires this long after the first repair.
    pub const COUNT_FOR: Duration = Duration::days(30);

    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of repairs at `now`. It is zero if the count has expired.
    #[must_use]
    pub fn counting(self, now: OffsetDateTime) -> Self {
        if self.since.is_some_and(|since| since + Self::COUNT_FOR > now) { self } else { Self::default() }
    }

    /// Returns the counter with one more repair at `now`. Returns `None` if [`Self::MOST`] is reached, because Flexgate
    /// must not repair the user again.
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

/// A person in the ledger: all statements about the person, and the record of what Flexgate has given the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The ledger's id of the person.
    pub id: PersonId,
    /// The Flex username, in the spelling that Flex uses.
    pub username: Username,
    /// The person's Flex user. `None` if there is no such user yet.
    pub flex_user_sid: Option<FlexUserSid>,
    /// What each source says about the person.
    pub statements: BTreeMap<Source, Statement>,
    /// Each source's own id for the person. The API and operators have no such ids.
    pub subjects: BTreeMap<Source, SubjectId>,
    /// What Flexgate has given to the person.
    pub given: Given,
    /// Whether somebody else has taken over this person's username and Flex user.
    pub superseded: bool,
    /// The number of times that this person has been written to the store. 0 for a person who is not stored yet.
    pub version: u64,
}

impl Person {
    /// Makes a person about whom only the username is known.
    #[must_use]
    pub fn new(id: PersonId, username: Username) -> Self {
        let (statements, subjects) = (BTreeMap::new(), BTreeMap::new());
        let given = Given::default();
        Self { id, username, flex_user_sid: None, statements, subjects, given, superseded: false, version: 0 }
    }

    /// Makes the person who takes over this person's username and Flex user. The new person has no statements, and
    /// inherits neither the profile nor the roles in Flex.
    #[must_use]
    pub fn successor(&self, id: PersonId, now: OffsetDateTime) -> Self {
        let given = Given { taking_over: true, owner_since: Some(now), ..Given::default() };
        Self { flex_user_sid: self.flex_user_sid.clone(), given, ..Self::new(id, self.username.clone()) }
    }

    /// Whether the person has been reconciled since the last statement about them.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.version > 0 && self.given.settled_at == self.version
    }

    /// Returns the sources that say "active". SCIM groups and claims are never among them.
    pub fn active_by(&self) -> impl Iterator<Item = &Source> {
        self.saying(true)
    }

    /// Returns the sources that say "inactive". SCIM groups and claims are never among them.
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

    #[test]
    fn an_id_has_32_hexadecimal_digits_in_lower_case() {
        let text = "00000000000000000000000000000abc";
        let id: PersonId = text.parse().unwrap();
        assert_eq!(serde_json::to_value(id).unwrap(), text);
        for wrong in ["abc", &"A".repeat(32), &format!("+{}", "0".repeat(31)), &"0".repeat(33)] {
            assert_eq!(wrong.parse::<PersonId>(), Err(PersonIdError), "{wrong}");
        }
    }

    #[test]
    fn a_successor_owns_the_username_from_now_on_and_inherits_only_the_flex_user() {
        let (sid, now) = (format!("FU{}", "0".repeat(32)).parse().unwrap(), OffsetDateTime::UNIX_EPOCH);
        let mut earlier = Person::new(PersonId::of([1; 16]), "ada".parse().unwrap());
        earlier.statements.insert(Source::Scim, Statement::default());
        earlier.given.roles = [crate::Role::Agent].into();
        earlier.flex_user_sid = Some(sid);
        let successor = earlier.successor(PersonId::of([2; 16]), now);
        let given = Given { taking_over: true, owner_since: Some(now), ..Given::default() };
        let fresh = Person::new(PersonId::of([2; 16]), "ada".parse().unwrap());
        assert_eq!(successor, Person { flex_user_sid: earlier.flex_user_sid.clone(), given, ..fresh });
    }

    #[test]
    fn a_person_is_settled_only_after_the_last_statement_was_reconciled() {
        let mut person = Person::new(PersonId::of([1; 16]), "ada".parse().unwrap());
        assert!(!person.is_settled(), "not stored yet");
        person.version = 2;
        assert!(!person.is_settled());
        person.given.settled_at = 2;
        assert!(person.is_settled());
        person.version = 3;
        assert!(!person.is_settled());
    }

    #[test]
    fn what_was_never_given_is_not_stored() {
        let stored = |given: &Given| serde_json::to_value(given).unwrap().as_object().unwrap().len();
        let fresh = Given::default();
        assert_eq!(stored(&fresh), 2, "only the two sets of roles");
        let repairs = Repairs::default().another(OffsetDateTime::UNIX_EPOCH).unwrap();
        for given in [
            Given { settled_at: 7, ..fresh.clone() },
            Given { taking_over: true, ..fresh.clone() },
            Given { repairs, ..fresh.clone() },
        ] {
            assert_eq!(stored(&given), 3);
            assert_eq!(serde_json::from_value::<Given>(serde_json::to_value(&given).unwrap()).unwrap(), given);
        }
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
