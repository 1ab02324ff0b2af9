//! Storage for the people ledger: what each source (SCIM, a webhook, `/users`, …) says about each person.
//!
//! A person is stored as a head, statements and pointers. The head contains the person's own data. A statement contains
//! everything that one source says about the person. A pointer leads to the head from the username, a Flex SID, or a
//! source's own id for the person.
//!
//! The head has a version, and a write succeeds only if the version has not changed. The key of a statement begins
//! with the kind of its source, so a function's IAM role can be limited to certain sources.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use crate::domain::{FlexUserSid, SubjectId, Username, UsernameKey};

/// A key by which the ledger finds a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonKey {
    /// The ledger's own id of the person.
    Id(PersonId),
    /// The key of the person's username.
    Username(UsernameKey),
    /// The person's current Flex user or an earlier one.
    FlexUser(FlexUserSid),
    /// A source's own id of the person.
    Subject(Source, SubjectId),
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The write succeeded. The person now has this version.
    Yes(u64),
    /// Nothing was written. The stored person has changed, or one of the keys (username, Flex user, subject) belongs to
    /// somebody else.
    Moved,
}

/// A statement to store, with its source and the source's own id for the person.
#[derive(Debug, Clone, Copy)]
pub struct Stating<'a> {
    /// The source of the statement.
    pub source: &'a Source,
    /// Everything that the source says about the person. The caller has already merged the source's earlier statement
    /// into this one.
    pub statement: &'a Statement,
    /// The source's own id for the person. `None` if the source has no such id.
    pub subject: Option<&'a SubjectId>,
    /// The new record of what Flexgate has given the person. `None` if the record does not change. The record and the
    /// statement are written together. So a crash cannot make Flexgate forget a role that it must remove later.
    pub given: Option<&'a Given>,
}

/// The data that Flexgate itself records about a person.
#[derive(Debug, Clone, Copy)]
pub struct Noting<'a> {
    /// What Flexgate has given the person.
    pub given: &'a Given,
    /// The person's current Flex user. The ledger can still find the person by earlier Flex users.
    pub flex_user_sid: Option<&'a FlexUserSid>,
    /// The username as Flex spells it. The stored username may be spelled differently, but it must be the same
    /// username.
    pub username: &'a Username,
}

/// Whether this process may reconcile the person now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonLease {
    /// This process may reconcile the person, and until the lease ends, no other process may.
    Granted {
        /// True if the previous holder did not release the lease. That holder's last request may still arrive at
        /// Twilio. Also true if a holder requests its own lease again.
        taken_over: bool,
    },
    /// Another process holds the lease until this time.
    Held(OffsetDateTime),
    /// There is no such person.
    Unknown,
}

/// The people ledger.
#[async_trait]
pub trait People: fmt::Debug + Send + Sync {
    /// Returns the person with this key, and all statements about them. The read is strongly consistent.
    async fn person(&self, key: &PersonKey) -> Result<Option<Person>, StoreError>;

    /// Returns the people with these keys. Each person is returned once, in no particular order. Unknown keys are
    /// left out.
    async fn people(&self, keys: &[PersonKey]) -> Result<Vec<Person>, StoreError>;

    /// Returns at most `limit` people after the id `after`, in the order of their ids.
    async fn page(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<Person>, StoreError>;

    /// Stores a new person (`version` 0), with statements and subjects (the sources' own ids for the person).
    ///
    /// With `instead_of`, the new person takes over the username of the person `instead_of`, and the Flex user and the
    /// subjects that the two people have in common. The same transaction marks `instead_of` as superseded, and removes
    /// the Flex user from that person's entry.
    ///
    /// Returns [`Written::Moved`] if the username, the Flex user or a subject belongs to somebody else, or if
    /// `instead_of` has another version now. For example, that person may have become active again.
    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError>;

    /// Stores a source's statement, if the person still has version `version`.
    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError>;

    /// Stores the record of what Flexgate has given the person, and the person's Flex user, if the person still has
    /// version `version`.
    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError>;

    /// Requests a lease: until `until`, only this holder may reconcile the person. `holder` is a random number. A
    /// holder can extend its own lease with a second request.
    async fn lease(
        &self,
        person: PersonId,
        holder: u128,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<PersonLease, StoreError>;

    /// Releases this holder's lease. If `version` is given, releases the lease only if the person still has that
    /// version. Returns false if the person has another version, or if another holder has the lease.
    async fn release(&self, person: PersonId, holder: u128, version: Option<u64>) -> Result<bool, StoreError>;

    /// Returns what a source said about a subject before it sent the subject's username. Such a statement has no
    /// person yet, but must not be lost, because it can end a membership.
    async fn unattached(&self, source: &Source, subject: &SubjectId) -> Result<Option<Statement>, StoreError>;

    /// Stores a statement about a subject for whom the ledger has no person yet. The caller must process the
    /// statements about one subject one at a time.
    async fn keep_unattached(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &Statement,
    ) -> Result<(), StoreError>;
}

/// Tells the sign-in function whether a person is inactive, without giving it access to the statements.
#[async_trait]
pub trait Deactivations: fmt::Debug + Send + Sync {
    /// Whether any source says that the person with this Flex user or this username is inactive.
    async fn says_inactive(
        &self,
        user: Option<&FlexUserSid>,
        username: Option<&UsernameKey>,
    ) -> Result<bool, StoreError>;
}

/// The username and Flex user of a person in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    /// The person's username, as Flex spells it.
    pub username: Username,
    /// The person's current Flex user. `None` if there is none yet.
    pub flex_user_sid: Option<FlexUserSid>,
}

/// Finds a person's username and Flex user by a key of the ledger, without giving access to the statements.
#[async_trait]
pub trait WhoIsWho: fmt::Debug + Send + Sync {
    /// Returns the person with this key.
    async fn who_is(&self, key: &PersonKey) -> Result<Option<KnownUser>, StoreError>;
}

/// A Flex user in the username index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUser {
    /// The username's key.
    pub key: UsernameKey,
    /// The username as Flex spells it.
    pub username: Username,
    /// The SID of the Flex user.
    pub flex_user_sid: FlexUserSid,
    /// Whether the user was active when the index last recorded the user.
    pub active: bool,
}

/// The username index: Flex's users by username, regardless of case. Twilio finds a username only by its exact
/// spelling, and possibly does not return deactivated users at all.
#[async_trait]
pub trait UsernameIndex: fmt::Debug + Send + Sync {
    /// Stores the users as they were at the time `at`. `at` is the start of a run that reads all users, or the time of
    /// a change by Flexgate. An entry with a later time stays unchanged.
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the users with this key, active ones first.
    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError>;

    /// Records that a run which began at `began` has read all users of Flex. The index no longer returns users whom it
    /// last recorded before that time, because they no longer exist in Flex.
    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the time at which the last run that read all users began. Returns `None` before the first such run.
    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError>;
}
