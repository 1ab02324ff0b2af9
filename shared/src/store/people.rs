//! The people ledger: the known people, what each source says about them, and what Flexgate has given them.
//!
//! The store keeps a person as a head, one statement for each source, and pointers: from the username's key, from each
//! Flex SID, and from the subject id that each source uses. The head has a version that counts every write to the
//! person, and every write is conditional on it, so no writer silently overwrites another's change. Each statement is
//! a separate record whose key begins with the kind of its source, so that a function's IAM role can be limited to the
//! statements of its own sources.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use crate::domain::{FlexUserSid, SubjectId, Username, UsernameKey};

/// A key by which a person is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonKey {
    /// By their own id.
    Id(PersonId),
    /// By the key of their username.
    Username(UsernameKey),
    /// By their current Flex user or an earlier one.
    FlexUser(FlexUserSid),
    /// By the subject id that a source uses for them.
    Subject(Source, SubjectId),
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was written. The person now has this version.
    Yes(u64),
    /// It was not written: another writer changed the person in between, or the username, the Flex user or the subject
    /// belongs to another person.
    Moved,
}

/// A statement to write, with its source and subject.
#[derive(Debug, Clone, Copy)]
pub struct Stating<'a> {
    /// The source of the statement.
    pub source: &'a Source,
    /// Everything that the source says, already merged with what it said before.
    pub statement: &'a Statement,
    /// The source's own subject id for the person, if it has one.
    pub subject: Option<&'a SubjectId>,
    /// What Flexgate has given the person, if the statement changes it. Written in the same transaction: a process that
    /// stops in between must not leave a statement whose consequence for earlier roles is lost.
    pub given: Option<&'a Given>,
}

/// What Flexgate records about a person besides the statements.
#[derive(Debug, Clone, Copy)]
pub struct Noting<'a> {
    /// What Flexgate has given the person.
    pub given: &'a Given,
    /// The current Flex user. The pointers of earlier ones still lead to the person.
    pub flex_user_sid: Option<&'a FlexUserSid>,
    /// The username as Flex spells it. The spelling may change, but the username's key does not.
    pub username: &'a Username,
}

/// Whether this process may reconcile the person now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonLease {
    /// Yes; no other process may before the lease ends.
    Granted {
        /// Whether an earlier holder never released the lease: a request that it sent to Twilio may still arrive there.
        /// Also true if a holder requests a lease that it already has, because the answer to its first request may have
        /// been lost.
        taken_over: bool,
    },
    /// No: another process holds the lease until this time.
    Held(OffsetDateTime),
    /// There is no such person.
    Unknown,
}

/// The people ledger.
#[async_trait]
pub trait People: fmt::Debug + Send + Sync {
    /// Returns the person with that key, with all statements. The read is strongly consistent.
    async fn person(&self, key: &PersonKey) -> Result<Option<Person>, StoreError>;

    /// Returns the people with these keys who are known, each once, in no order.
    async fn people(&self, keys: &[PersonKey]) -> Result<Vec<Person>, StoreError>;

    /// Returns at most `limit` people after `after`, in the order of their ids.
    async fn page(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<Person>, StoreError>;

    /// Writes a person who is not known yet (`version` 0), with statements and subjects.
    ///
    /// If their username, Flex user or one of their subjects already leads to somebody other than `instead_of`, the
    /// result is [`Written::Moved`]. A person who takes over the username of `instead_of` also takes over those
    /// pointers, and the same transaction marks `instead_of` superseded and removes its Flex user. The result is also
    /// [`Written::Moved`] if `instead_of` has another version by now, so that a person who came back in between is not
    /// replaced.
    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError>;

    /// Writes what one source says, if the person still has version `version`.
    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError>;

    /// Records what Flexgate has given and which Flex user the person is, if the person still has version `version`.
    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError>;

    /// Requests a lease: the exclusive right to reconcile the person until `until`. `holder` is random; a holder that
    /// requests its lease again extends it to the new `until`.
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

    /// Returns what a source said about a subject before it named the subject's username. No person exists yet to
    /// attach the statement to, but it must not be lost, above all when it ends a membership.
    async fn unattached(&self, source: &Source, subject: &SubjectId) -> Result<Option<Statement>, StoreError>;

    /// Stores what a source says about a subject who has no person yet. The caller must handle the statements of one
    /// subject one at a time.
    async fn keep_unattached(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &Statement,
    ) -> Result<(), StoreError>;
}

/// Tells sign-in who is inactive. It reads only pointers and heads, and can write nothing.
#[async_trait]
pub trait Deactivations: fmt::Debug + Send + Sync {
    /// Whether any source says that the person with that Flex user or that username is inactive.
    async fn says_inactive(
        &self,
        user: Option<&FlexUserSid>,
        username: Option<&UsernameKey>,
    ) -> Result<bool, StoreError>;
}

/// A Flex user as the index last saw them.
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

/// The username index: Flex's users by folded username, as the last sweep saw them. It exists because Twilio finds a
/// username only in its exact spelling, and may not show a deactivated user at all.
#[async_trait]
pub trait UsernameIndex: fmt::Debug + Send + Sync {
    /// Writes the users seen at `at`. A walk passes the time it began; a change that Flexgate made itself passes its
    /// own time. Entries from a later time are not overwritten.
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns the users with that key, active ones first.
    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError>;

    /// Records that a complete walk began at `began`. Users last seen before that are gone from Flex, and the index no
    /// longer returns them.
    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns when the last complete walk began; `None` before the first.
    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError>;
}
