//! Storage of the people ledger: the known people, what each source says about them, and what Flexgate has given them.
//!
//! A person is stored as a head, one statement for each source, and pointers. The head holds the person's own data. A
//! statement is what one source says about the person. A pointer makes it possible to find the head by the username, by
//! a Flex SID, or by a source's own id of the person. The head has a version that counts every write to the person. A
//! write succeeds only if the version has not changed, so no writer silently overwrites another's change. Each
//! statement is a separate record, whose key begins with the kind of its source. So a function's IAM role can be
//! limited to the statements of its own sources.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use crate::domain::{FlexUserSid, SubjectId, Username, UsernameKey};

/// A key by which the ledger finds a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonKey {
    /// By their own id.
    Id(PersonId),
    /// By the key of their username.
    Username(UsernameKey),
    /// By the person's current Flex user or an earlier one.
    FlexUser(FlexUserSid),
    /// By the subject id that a source uses for the person.
    Subject(Source, SubjectId),
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The write succeeded. The person now has this version.
    Yes(u64),
    /// Nothing was written. One reason is that another writer has changed the person since this caller read it. The
    /// other is that the username, the Flex user or the subject belongs to another person.
    Moved,
}

/// A source's statement about a person that is to be stored, with the source and the source's own id of the person.
#[derive(Debug, Clone, Copy)]
pub struct Stating<'a> {
    /// The source of the statement.
    pub source: &'a Source,
    /// Everything that the source says about the person. The caller has already merged it with the source's earlier
    /// statement.
    pub statement: &'a Statement,
    /// The source's own subject id for the person, if it has one.
    pub subject: Option<&'a SubjectId>,
    /// The record of what Flexgate has given the person, if the statement changes that record. It is written in the
    /// same transaction as the statement. Otherwise, after a crash between the two writes, Flexgate could have
    /// forgotten roles that it must take away.
    pub given: Option<&'a Given>,
}

/// What Flexgate itself records about a person, in addition to what the sources say.
#[derive(Debug, Clone, Copy)]
pub struct Noting<'a> {
    /// What Flexgate has given the person.
    pub given: &'a Given,
    /// The person's current Flex user. If it changes, the ledger can still find the person by the earlier Flex users.
    pub flex_user_sid: Option<&'a FlexUserSid>,
    /// The username as Flex spells it. It may replace another spelling of the same username, but not another username.
    pub username: &'a Username,
}

/// Whether this process may reconcile the person now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonLease {
    /// This process may reconcile the person. No other process may before the lease ends.
    Granted {
        /// True if an earlier holder never released the lease. A request that this holder sent to Twilio may then still
        /// arrive there. It is also true if a holder requests a lease that it already has, for example because the
        /// answer to its first request was lost.
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
    /// Returns the person with that key, with all statements. The read is strongly consistent.
    async fn person(&self, key: &PersonKey) -> Result<Option<Person>, StoreError>;

    /// Returns the known people among those with these keys. Each person is returned once, in no particular order.
    async fn people(&self, keys: &[PersonKey]) -> Result<Vec<Person>, StoreError>;

    /// Returns at most `limit` people after `after`, in the order of their ids.
    async fn page(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<Person>, StoreError>;

    /// Stores a new person (`version` 0), with statements and subjects.
    ///
    /// Returns [`Written::Moved`] if the username, the Flex user or one of the subjects already belongs to somebody
    /// other than `instead_of`.
    ///
    /// If `instead_of` is set, the new person takes over that person's username, and every Flex user and subject that
    /// both have in common. The same transaction marks `instead_of` as superseded and removes its Flex user. Returns
    /// [`Written::Moved`] if `instead_of` has another version by now. For example, that person may have become active
    /// again, and must then not be replaced.
    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError>;

    /// Stores a source's statement, if the person still has version `version`.
    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError>;

    /// Stores the record of what Flexgate has given the person, and the person's current Flex user. Writes only if the
    /// person still has version `version`.
    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError>;

    /// Requests a lease: until the time `until`, only this holder may reconcile the person. `holder` is a random
    /// number. If a holder requests its own lease again, the lease lasts until the new `until`.
    async fn lease(
        &self,
        person: PersonId,
        holder: u128,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<PersonLease, StoreError>;

    /// Releases the lease if the person still has version `version`. If `version` is `None`, releases the lease
    /// whatever version the person has. Returns false if the person has another version, or if another holder has taken
    /// over the lease.
    async fn release(&self, person: PersonId, holder: u128, version: Option<u64>) -> Result<bool, StoreError>;

    /// Returns what a source said about a subject before the source sent the subject's username. At that time the
    /// ledger cannot know which person the statement is about. The statement must be kept all the same, especially if
    /// it ends a membership.
    async fn unattached(&self, source: &Source, subject: &SubjectId) -> Result<Option<Statement>, StoreError>;

    /// Stores what a source says about a subject for whom the ledger has no person yet. The caller must process the
    /// statements of one subject one at a time.
    async fn keep_unattached(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &Statement,
    ) -> Result<(), StoreError>;
}

/// Tells the sign-in function whether any source says that a person is inactive. The sign-in function needs no access
/// to the statements for this, and it writes nothing.
#[async_trait]
pub trait Deactivations: fmt::Debug + Send + Sync {
    /// Whether any source says that the person with that Flex user or that username is inactive.
    async fn says_inactive(
        &self,
        user: Option<&FlexUserSid>,
        username: Option<&UsernameKey>,
    ) -> Result<bool, StoreError>;
}

/// A Flex user as the username index last recorded them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUser {
    /// The username's key.
    pub key: UsernameKey,
    /// The username as Flex spells it.
    pub username: Username,
    /// The Flex user.
    pub flex_user_sid: FlexUserSid,
    /// Whether the user was active.
    pub active: bool,
}

/// The username index: Flex's users by username, regardless of case, as they were at the last sweep. Flexgate needs it
/// because Twilio finds a username only by its exact spelling, and may not show a deactivated user at all.
#[async_trait]
pub trait UsernameIndex: fmt::Debug + Send + Sync {
    /// Stores the users as they were at the time `at`. For a walk over all users, `at` is the time at which the walk
    /// began. For a change by Flexgate itself, it is the time of the change. An entry that was stored with a later time
    /// stays as it is.
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the users with that key, active ones first.
    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError>;

    /// Records that a walk over all users of Flex has completed, and that this walk began at `began`. A user who was
    /// last seen before that time no longer exists in Flex, and the index no longer returns them.
    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns when the last complete walk over all users began. Returns `None` before the first one.
    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError>;
}
