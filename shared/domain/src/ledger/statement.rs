//! What one source has said about one person.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::event::{EventId, Moment};
use crate::name::{Email, FullName};
use crate::user::WorkerAttributes;

/// A value, and the moment at which a source stated it.
///
/// Of two values, the one with the later moment wins. If the moments are equal, the larger value wins. So the order
/// in which values arrive does not matter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said<T> {
    /// When the source stated the value.
    pub moment: Moment,
    /// The value that the source stated.
    pub value: T,
}

/// Everything that one source has said about one person.
///
/// A field is `None` if the source never mentioned it. A field that the source has emptied contains an empty value.
/// Every field and every membership has its own moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statement {
    /// Everything that the source said before this moment is void. At this moment, the source described the person in
    /// full, or the source's statement was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Whether the person is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<Said<bool>>,
    /// If the source said "inactive" before this moment, Flexgate ignores that. The person's memberships in this
    /// source's groups and applications then decide whether the person is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<Moment>,
    /// Whether the person is a member of each group or application. The key is the source's id for the group or
    /// application. An ended membership stays as `false`, so that a late event about its beginning has no effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memberships: BTreeMap<Box<str>, Said<bool>>,
    /// The names of the person's roles, as the source spells them. [`desired`](super::desired) decides which of these
    /// roles the person gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Said<BTreeSet<Box<str>>>>,
    /// The source's id for the person's directory or organisation. An empty value means that the directory no longer
    /// exists. The person is then inactive until the source names another directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<Said<Option<Box<str>>>>,
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Said<Option<Email>>>,
    /// The full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<Said<Option<FullName>>>,
    /// The given name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_name: Option<Said<Option<FullName>>>,
    /// The family name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family_name: Option<Said<Option<FullName>>>,
    /// The locale, like `en-US`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<Said<Option<Box<str>>>>,
    /// The worker's attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Said<Option<WorkerAttributes>>>,
}

impl<T> Said<T> {
    /// Makes a value that the event, request or command `id` stated at the time `at`.
    pub fn new(at: OffsetDateTime, id: &EventId, value: T) -> Self {
        Self { moment: Moment { at, deactivates: false, id: id.clone() }, value }
    }
}

impl Said<bool> {
    /// Makes a value for `active` or for a membership. If a source states both true and false at the same time, false
    /// wins.
    #[must_use]
    pub fn access(at: OffsetDateTime, id: &EventId, value: bool) -> Self {
        Self { moment: Moment { at, deactivates: !value, id: id.clone() }, value }
    }
}

/// Sets `ours` to the larger of the two values. `None` is the smallest value.
fn later<T: Ord>(ours: &mut Option<T>, theirs: Option<T>) {
    if theirs > *ours {
        *ours = theirs;
    }
}

impl Statement {
    /// Makes an empty statement that replaces everything that its source said before `at`. The caller then sets the
    /// fields.
    #[must_use]
    pub fn in_full(at: OffsetDateTime, id: &EventId) -> Self {
        Self { since: Some(Moment { at, deactivates: false, id: id.clone() }), ..Self::default() }
    }

    /// Merges another statement of the same source into this one. Merging is commutative, associative and idempotent.
    pub fn merge(&mut self, other: Self) {
        later(&mut self.since, other.since);
        later(&mut self.active, other.active);
        later(&mut self.restored, other.restored);
        for (id, said) in other.memberships {
            let ours = self.memberships.entry(id).or_insert_with(|| said.clone());
            if said > *ours {
                *ours = said;
            }
        }
        later(&mut self.directory, other.directory);
        later(&mut self.roles, other.roles);
        later(&mut self.email, other.email);
        later(&mut self.full_name, other.full_name);
        later(&mut self.given_name, other.given_name);
        later(&mut self.family_name, other.family_name);
        later(&mut self.locale, other.locale);
        later(&mut self.attributes, other.attributes);
        self.forget_before();
    }

    /// Drops everything that the source said before `since`.
    fn forget_before(&mut self) {
        fn keep<T>(said: &mut Option<Said<T>>, since: &Moment) {
            if said.as_ref().is_some_and(|said| said.moment < *since) {
                *said = None;
            }
        }
        let Some(since) = &self.since else { return };
        keep(&mut self.active, since);
        if self.restored.as_ref() < Some(since) {
            self.restored = None;
        }
        self.memberships.retain(|_, said| said.moment >= *since);
        keep(&mut self.directory, since);
        keep(&mut self.roles, since);
        keep(&mut self.email, since);
        keep(&mut self.full_name, since);
        keep(&mut self.given_name, since);
        keep(&mut self.family_name, since);
        keep(&mut self.locale, since);
        keep(&mut self.attributes, since);
    }

    /// Whether the source says nothing about the person now, for example after its statement was withdrawn.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let directory = self.directory.clone().filter(|said| said.value.is_some());
        *self == Self { since: self.since.clone(), directory, ..Self::default() }
    }

    /// Whether the source says that the person is active. `None` if it says neither "active" nor "inactive". The first
    /// of these rules that applies decides:
    ///
    /// * If the directory no longer exists, the person is inactive.
    /// * If [`Self::active`] is false, the person is inactive, unless [`Self::restored`] is later.
    /// * If the source has named memberships, the person is active while at least one of them lasts.
    /// * If [`Self::active`] is true, the person is active.
    #[must_use]
    pub fn says_active(&self) -> Option<bool> {
        let counts = |said: &&Said<bool>| said.value || Some(&said.moment) >= self.restored.as_ref();
        let explicit = self.active.as_ref().filter(counts).map(|said| said.value);
        if explicit == Some(false) || self.directory.as_ref().is_some_and(|said| said.value.is_none()) {
            return Some(false);
        }
        if self.memberships.is_empty() {
            return explicit;
        }
        Some(self.memberships.values().any(|said| said.value))
    }

    /// Returns the person's full name and its moment. The name is either a full name from the source, or a given name
    /// and a family name joined. If the source sent both forms, the later form wins.
    #[must_use]
    pub fn says_full_name(&self) -> Option<(&Moment, FullName)> {
        let given = self.given_name.as_ref().and_then(|said| Some((said.value.as_ref()?, &said.moment)));
        let family = self.family_name.as_ref().and_then(|said| Some((said.value.as_ref()?, &said.moment)));
        let joined = given.zip(family).and_then(|((given, at), (family, also_at))| {
            Some((at.max(also_at), FullName::joined(Some(given), Some(family))?))
        });
        let whole = self.full_name.as_ref().and_then(|said| Some((&said.moment, said.value.clone()?)));
        match (whole, joined) {
            (Some((at, whole)), Some((joined_at, joined))) => {
                Some(if at >= joined_at { (at, whole) } else { (joined_at, joined) })
            }
            (whole, joined) => whole.or(joined),
        }
    }

    /// Moves the statement to just after `earlier`, unless the statement is already later. Use this for a source that
    /// waits for each answer before it sends its next request. Otherwise, a Flexgate machine with a slow clock could
    /// make a new request look older than the previous one.
    #[must_use]
    pub fn made_after(mut self, earlier: Option<&Moment>) -> Self {
        fn shift<T>(said: &mut Option<Said<T>>, at: OffsetDateTime) {
            if let Some(said) = said {
                said.moment.at = at;
            }
        }
        let Some(earlier) = earlier.filter(|earlier| self.latest().is_some_and(|own| own.at <= earlier.at)) else {
            return self;
        };
        let at = earlier.at + time::Duration::MICROSECOND;
        for moment in [&mut self.since, &mut self.restored].into_iter().flatten() {
            moment.at = at;
        }
        shift(&mut self.active, at);
        self.memberships.values_mut().for_each(|said| said.moment.at = at);
        shift(&mut self.directory, at);
        shift(&mut self.roles, at);
        shift(&mut self.email, at);
        shift(&mut self.full_name, at);
        shift(&mut self.given_name, at);
        shift(&mut self.family_name, at);
        shift(&mut self.locale, at);
        shift(&mut self.attributes, at);
        self
    }

    /// Returns the latest moment in the statement.
    #[must_use]
    pub fn latest(&self) -> Option<&Moment> {
        fn of<T>(said: Option<&Said<T>>) -> Option<&Moment> {
            said.map(|said| &said.moment)
        }
        let memberships = self.memberships.values().map(|said| &said.moment).max();
        [
            self.since.as_ref(),
            of(self.active.as_ref()),
            self.restored.as_ref(),
            memberships,
            of(self.directory.as_ref()),
            of(self.roles.as_ref()),
            of(self.email.as_ref()),
            of(self.full_name.as_ref()),
            of(self.given_name.as_ref()),
            of(self.family_name.as_ref()),
            of(self.locale.as_ref()),
            of(self.attributes.as_ref()),
        ]
        .into_iter()
        .flatten()
        .max()
    }
}

impl Moment {
    /// Returns the time that Flexgate records for a message: the time that the source states, but never later than the
    /// time of receipt. Without this limit, if the source's clock was fast for one message, the source's next messages
    /// could look older than that one.
    #[must_use]
    pub fn counts_at(said_at: OffsetDateTime, received_at: OffsetDateTime) -> OffsetDateTime {
        said_at.min(received_at)
    }
}
