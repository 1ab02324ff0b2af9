//! Storage of the people ledger: the known people, what each source says about them, and what Flexgate has given them.
//!
//! A person is stored as a head, one statement for each source, and pointers to the head. A statement is what the
//! source says about the person. There is a pointer for the username's key, for each Flex SID and for each source's
//! subject id. The head has a version that counts every write to the person. Every write is conditional on that
//! version, so no writer silently overwrites another's change. Each statement is a separate record whose key begins
//! with the kind of its source. So a function's IAM role can be limited to the statements of its own sources.

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
    /// Nothing was written. Either another writer changed the person since it was read, or the username, the Flex user
    /// or the subject belongs to another person.
    Moved,
}

/// What a source says about a person (its statement), with the source and its id of the person, to be written.
#[derive(Debug, Clone, Copy)]
pub struct Stating<'a> {
    /// The source of the statement.
    pub source: &'a Source,
    /// Everything that the source says, already merged with its earlier statements.
    pub statement: &'a Statement,
    /// The source's own subject id for the person, if it has one.
    pub subject: Option<&'a SubjectId>,
    /// The record of what Flexgate has given the person, if the statement changes that record. It is written in the
    /// same transaction as the statement. Otherwise a crash between the two writes could lose the statement's effect on
    /// roles given earlier.
    pub given: Option<&'a Given>,
}

/// What Flexgate records about a person besides the sources' statements.
#[derive(Debug, Clone, Copy)]
pub struct Noting<'a> {
    /// What Flexgate has given the person.
    pub given: &'a Given,
    /// The person's current Flex user. The ledger can still find the person by their earlier Flex users.
    pub flex_user_sid: Option<&'a FlexUserSid>,
    /// The username as Flex spells it. The spelling may change, but the username's key does not.
    pub username: &'a Username,
}

/// Whether this process may reconcile the person now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonLease {
    /// This process may reconcile the person. No other process may before the lease ends.
    Granted {
        /// Whether an earlier holder never released the lease, so that a request that it sent to Twilio may still
        /// arrive there. Also true if a holder requests a lease that it already has, for example because the answer to
        /// its first request was lost.
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
    /// [`Written::Moved`] if `instead_of` now has another version, so that a person who came back in the meantime is
    /// not replaced.
    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError>;

    /// Stores a source's statement, if the person still has version `version`.
    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError>;

    /// Records what Flexgate has given the person and which Flex user they have. Writes only if the person still has
    /// version `version`.
    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError>;

    /// Requests a lease: the exclusive right to reconcile the person until `until`. `holder` is a random number. A
    /// holder that requests its own lease again extends it to the new `until`.
    async fn lease(
        &self,
        person: PersonId,
        holder: u128,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<PersonLease, StoreError>;

    /// Releases the lease if the person still has version `version`. Returns false if the version has changed, or if
    /// another holder has taken over the lease. `None` releases the lease regardless of the version.
    async fn release(&self, person: PersonId, holder: u128, version: Option<u64>) -> Result<bool, StoreError>;

    /// Returns what a source said about a subject before it sent the subject's username. At that time there is no
    /// person to whom the statement could be attached, but it must not be lost, especially when it ends a membership.
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

/// Tells the sign-in function whether a person is inactive. An implementation does not read the sources' statements,
/// and writes nothing.
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

/// The username index: Flex's users by username, regardless of case, as of the last sweep. It is needed because Twilio
/// finds a username only by its exact spelling, and may not show a deactivated user at all.
#[async_trait]
pub trait UsernameIndex: fmt::Debug + Send + Sync {
    /// Stores the users as they were at the time `at`. For a walk over all users, that is the time at which the walk
    /// began. For a change by Flexgate itself, it is the time of the change. An entry with a later time is not
    /// overwritten.
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the users with that key, active ones first.
    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError>;

    /// Records that a walk over all users of Flex has completed, and that it began at `began`. Users last seen before
    /// that time no longer exist in Flex, and the index does not return them any more.
    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns when the last complete walk over all users began. Returns `None` before the first one.
    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError>;
}
