//! The store: data that Flexgate must remember and that Twilio cannot store, such as sessions, bindings (which person
//! has which Flex user) and the people ledger (what each source says about each person).
//!
//! This module defines the traits. Its submodules implement them for SQLite, and for DynamoDB with SQS. Both
//! implementations pass the same tests (`tests/store.rs`). Many records have a version. If several processes read the
//! same version of such a record and then write it, only the first write succeeds.

mod activity;
mod dynamodb;
mod events;
mod logins;
mod message;
mod notices;
mod people;
mod problem;
pub mod scim;
mod session_endings;
mod sessions;
mod settings;
mod sign_in_state;
#[cfg(feature = "local")]
mod sqlite;
mod sqs;

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use time::{Duration, OffsetDateTime};

pub use activity::{NOTES_KEPT, Note, Noted, Notes, note_briefly};
pub use dynamodb::DynamoStore;
pub use events::{Backlog, DeadLetter, DeadLetters, EventHistory, EventQueue, EventStatus, Inbox, Settled, Taken};
pub use logins::ReturnAddresses;
pub use message::{ChangedMember, Ended, Lane, LeftGroup, Message};
pub use notices::Notices;
pub use people::{
    Deactivations, KnownUser, Noting, People, PersonKey, PersonLease, SeenUser, Stating, UsernameIndex, WhoIsWho,
    Written,
};
pub use scim::ScimStore;
pub use session_endings::{EndedUntil, EndingKey, SessionEndings};
pub use sessions::{
    Lease, ListedSession, Seat, Seats, Session, SessionKey, SessionList, SessionOrigin, SessionPage, SessionPosition,
    Sessions,
};
pub use settings::{Queues, StoreAt};
pub use sign_in_state::{CachedSignInState, SignInState, SignInSwitch};
#[cfg(feature = "local")]
pub use sqlite::SqliteStore;
#[cfg(feature = "simulation")]
pub use sqlite::{Database, StoreFaults};
pub use sqs::SqsQueue;

use crate::domain::{FlexUserSid, Identity};

/// The store failed. If the call was a write, the write may or may not have taken effect, and the caller must allow for
/// both cases.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is full, or stayed locked for too long.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store contains a record that this version cannot read.
    #[error("the store holds a record that cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Returns the SHA-256 of the parts in base64url. Each part is prefixed with its length. So two lists of parts have
/// different fingerprints even if their parts, put together, are the same string.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// Returns the key of a counter: the fingerprint of its kind, and of the strings that identify what it counts.
fn counter_key(kind: &str, what: &[&str]) -> String {
    let parts: Vec<&str> = std::iter::once(kind).chain(what.iter().copied()).collect();
    fingerprint(&parts)
}

/// Makes sure that only one caller performs an action. To claim an action is to get the exclusive right to perform it.
#[async_trait]
pub trait OnceOnly: fmt::Debug + Send + Sync {
    /// Claims the action `what` of the kind `kind`. Returns true for the first caller. Returns false for every later
    /// caller, at least until the time `until`.
    async fn claim(
        &self,
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError>;

    /// Claims the action `what` of the kind `kind` for the holder whom the strings in `holder` identify. Returns true
    /// if the action is unclaimed, or already claimed for this holder. So the holder can repeat the call after a
    /// failure. Returns false for everybody else, at least until the time `until`.
    ///
    /// The store contains only a hash of the holder.
    async fn claim_for(
        &self,
        holder: &[&str],
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError>;
}

/// Returns the digest that the store keeps with a claim, to recognise the claim's holder. The digest also depends on
/// the claimed action, so nobody can see in the store which claims have the same holder.
fn holder_mark(kind: &str, what: &str, holder: &[&str]) -> String {
    let parts: Vec<&str> = [kind, what].into_iter().chain(holder.iter().copied()).collect();
    fingerprint(&parts)
}

/// A counter after an increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The number of increments in the current time span, including this one.
    pub times: u32,
    /// When the time span ends. The next increment after that time restarts the counter at one.
    pub until: OffsetDateTime,
}

/// Counters for rate limits.
#[async_trait]
pub trait Counters: fmt::Debug + Send + Sync {
    /// Increments the counter of the kind `kind` that `what` identifies, and returns the new number. Concurrent callers
    /// get different numbers.
    ///
    /// The first increment begins a time span of the length `span`. The first increment after the end of that time span
    /// restarts the counter at one, and begins a new time span.
    async fn count(
        &self,
        kind: &str,
        what: &[&str],
        now: OffsetDateTime,
        span: Duration,
    ) -> Result<Counted, StoreError>;

    /// Removes the counter of the kind `kind` that `what` identifies. Does nothing if there is no such counter.
    async fn forget(&self, kind: &str, what: &[&str]) -> Result<(), StoreError>;
}

/// The outcome of binding an identity to a Flex user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The identity and the user are bound to each other, by this call or an earlier one.
    Yes,
    /// The identity is bound to another Flex user.
    IdentityTaken(FlexUserSid),
    /// The Flex user is bound to another identity.
    UserTaken,
}

/// Bindings of identities (an issuer of tokens, and its id for a person) to Flex users. An identity has at most one
/// user, and a user at most one identity. So nobody gets another person's user through a changed e-mail address or a
/// reused username.
#[async_trait]
pub trait Bindings: fmt::Debug + Send + Sync {
    /// Returns the Flex user bound to the identity.
    async fn user_of(&self, identity: &Identity) -> Result<Option<FlexUserSid>, StoreError>;

    /// Binds the identity to the user. Does nothing if either of them already has another binding.
    async fn bind(&self, identity: &Identity, user: &FlexUserSid, now: OffsetDateTime) -> Result<Bound, StoreError>;

    /// Removes the binding of this identity to this user. Does nothing if the user is bound to another identity.
    async fn unbind_identity(&self, identity: &Identity, user: &FlexUserSid) -> Result<(), StoreError>;

    /// Removes the user's binding, if there is one.
    async fn unbind(&self, user: &FlexUserSid) -> Result<(), StoreError>;
}
