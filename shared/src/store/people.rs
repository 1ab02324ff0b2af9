//! The people ledger: who is known, what each source says about them, and what Flexgate has given.
//!
//! A person is a head, a statement for each source, and pointers: from the username's key, from each Flex SID, and
//! from what each source calls them. The head counts the writes of all of it, and every write is conditional on that
//! count, so two writers never undo each other unnoticed. Each statement is a record of its own, whose key begins
//! with the kind of its source: a function's role can be held to the statements that are its own.

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

use super::StoreError;
use crate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use crate::domain::{FlexUserSid, SubjectId, Username, UsernameKey};

/// How a person is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonKey {
    /// By their own id.
    Id(PersonId),
    /// By the key of their username.
    Username(UsernameKey),
    /// By a Flex user that they are or once were.
    FlexUser(FlexUserSid),
    /// By what a source calls them.
    Subject(Source, SubjectId),
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is written. The person now has this version.
    Yes(u64),
    /// Somebody else has written meanwhile, or the username, the Flex user or the subject is another person's.
    Moved,
}

/// What a source's statement is written with.
#[derive(Debug, Clone, Copy)]
pub struct Stating<'a> {
    /// Who says it.
    pub source: &'a Source,
    /// Everything that the source says, already merged with what it said before.
    pub statement: &'a Statement,
    /// What the source calls the person, if it has a name of its own for people.
    pub subject: Option<&'a SubjectId>,
}

/// What is noted about a person beside the statements.
#[derive(Debug, Clone, Copy)]
pub struct Noting<'a> {
    /// What Flexgate has given.
    pub given: &'a Given,
    /// The current Flex user. An earlier one goes on leading to the person.
    pub flex_user_sid: Option<&'a FlexUserSid>,
    /// The username as Flex spells it. Its key does not change.
    pub username: &'a Username,
}

/// May this process reconcile the person now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonLease {
    /// Yes; nobody else will before the lease ends.
    Granted {
        /// Whether an earlier holder never gave the lease back. What it sent to Twilio may still arrive. Also true where
        /// a holder asks again for a lease that it has: the answer to its first request may be lost.
        taken_over: bool,
    },
    /// Somebody else is at it until then.
    Held(OffsetDateTime),
    /// There is no such person.
    Unknown,
}

/// The people ledger.
#[async_trait]
pub trait People: fmt::Debug + Send + Sync {
    /// The person of that key, with all statements, as every earlier write left them.
    async fn person(&self, key: &PersonKey) -> Result<Option<Person>, StoreError>;

    /// Those of these keys that are known, each once, in no order.
    async fn people(&self, keys: &[PersonKey]) -> Result<Vec<Person>, StoreError>;

    /// The people after `after`, in the order of their ids, at most `limit`.
    async fn page(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<Person>, StoreError>;

    /// Writes a person who is not known yet (`version` 0), with statements and subjects. [`Written::Moved`] if their
    /// username, Flex user or one of their subjects already leads to somebody, unless that is `instead_of`: whoever
    /// takes a username over takes those pointers over too, in the same transaction, and leaves `instead_of`
    /// superseded and without a Flex user. [`Written::Moved`] too if `instead_of` has another version by now: somebody
    /// who has come back in between is not replaced.
    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError>;

    /// Writes what one source says over version `version` of the person.
    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError>;

    /// Notes what was given and which Flex user the person is, over version `version`.
    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError>;

    /// Asks to be the only one to reconcile the person until `until`. `holder` is random; a holder who asks again keeps
    /// its lease until the new `until`.
    async fn lease(
        &self,
        person: PersonId,
        holder: u128,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<PersonLease, StoreError>;

    /// Gives the lease back if the person still has version `version`; false if not, or if somebody else has taken
    /// the lease over. `None` gives it back whatever the version.
    async fn release(&self, person: PersonId, holder: u128, version: Option<u64>) -> Result<bool, StoreError>;

    /// What a source has said of a subject before it said which username is theirs. There is no person yet whom it
    /// could be said of, and it must not be forgotten: an ended membership, above all.
    async fn unattached(&self, source: &Source, subject: &SubjectId) -> Result<Option<Statement>, StoreError>;

    /// Keeps what a source says of a subject who is no person yet. Whoever calls it handles one statement of a
    /// subject at a time.
    async fn keep_unattached(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &Statement,
    ) -> Result<(), StoreError>;
}

/// Who is inactive, for sign-in: a read of pointers and heads alone, and nothing that can be written.
#[async_trait]
pub trait Deactivations: fmt::Debug + Send + Sync {
    /// Whether any source says that the person of that Flex user or of that username is inactive.
    async fn says_inactive(
        &self,
        user: Option<&FlexUserSid>,
        username: Option<&UsernameKey>,
    ) -> Result<bool, StoreError>;
}

/// What the last walk over Flex has seen of a username.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUser {
    /// The username's key.
    pub key: UsernameKey,
    /// The username as Flex spells it.
    pub username: Username,
    /// The Flex user.
    pub flex_user_sid: FlexUserSid,
    /// Whether it was active.
    pub active: bool,
}

/// The username index: Flex's users by folded username, as the last sweep saw them. Twilio finds a username only as
/// it is spelt, and may not show a deactivated user at all.
#[async_trait]
pub trait UsernameIndex: fmt::Debug + Send + Sync {
    /// Writes what was seen at `at`: by a walk, which counts as of when it began, or by a change of Flexgate's own.
    /// What the index knows from a later time stays.
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError>;

    /// The users of that key, an active one first.
    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError>;

    /// Ends a complete walk that began at `began`: whatever was last seen before that is gone from Flex, and forgotten.
    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError>;

    /// When the last complete walk began; `None` before the first.
    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError>;
}
