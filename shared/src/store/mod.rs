//! The store: data that Flexgate must remember and that Twilio cannot store, such as sessions, bindings and the
//! people ledger.
//!
//! This module defines the traits. Its submodules implement them for SQLite, and for DynamoDB with SQS. Both
//! implementations pass the same tests (`tests/store.rs`). Of several concurrent writers of one record, only one
//! succeeds.

mod activity;
mod dynamodb;
mod events;
mod logins;
mod message;
mod notices;
mod people;
mod problem;
pub mod scim;
mod settings;
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
pub use people::{Deactivations, Noting, People, PersonKey, PersonLease, SeenUser, Stating, UsernameIndex, Written};
pub use scim::ScimStore;
pub use settings::{Queues, StoreAt};
#[cfg(feature = "local")]
pub use sqlite::SqliteStore;
#[cfg(feature = "simulation")]
pub use sqlite::{Database, StoreFaults};
pub use sqs::SqsQueue;

use crate::domain::{FlexUserSid, Identity, ProfileName};

/// The store failed. Some data may have been written, so the caller must not rely on either outcome.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is full, or stayed locked for too long.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store contains a record that this version cannot read.
    #[error("the store holds a record that cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The key of a stored session: the SHA-256 of the session's identifier. So nobody can derive the content of the
/// cookie from the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(Box<str>);

impl SessionKey {
    /// Returns the key for the identifier in the cookie.
    #[must_use]
    pub fn of(session_id: &str) -> Self {
        Self(fingerprint(&[session_id]).into())
    }

    /// Returns the key in base64url.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the SHA-256 of the parts in base64url. Each part is prefixed with its length.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

/// Returns the key of a counter: the fingerprint of its kind and of what it counts.
fn counter_key(kind: &str, what: &[&str]) -> String {
    let parts: Vec<&str> = std::iter::once(kind).chain(what.iter().copied()).collect();
    fingerprint(&parts)
}

/// The session of a signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The key of the session.
    pub key: SessionKey,
    /// The SSO profile through which the person signed in.
    pub profile: ProfileName,
    /// The Flex user who signed in.
    pub flex_user_sid: FlexUserSid,
    /// The encrypted tokens. The store cannot read them.
    pub sealed: String,
    /// The number of refreshes so far. The result of a refresh is stored only if this number has not changed since
    /// the refresh began.
    pub version: u64,
    /// When the person signed in.
    pub created_at: OffsetDateTime,
    /// When the session was last used.
    pub used_at: OffsetDateTime,
    /// When the session ends, even if it is in use. The store may remove it after that time.
    pub ends_at: OffsetDateTime,
}

/// Whether this process may refresh the session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// This process may refresh the session, and no other process may until the lease ends.
    Granted,
    /// Another process holds the lease.
    Held,
    /// The session has another version now, because it has been refreshed, or it no longer exists.
    Moved,
}

/// Sign-in sessions.
#[async_trait]
pub trait Sessions: fmt::Debug + Send + Sync {
    /// Stores a new session.
    async fn insert(&self, session: Session) -> Result<(), StoreError>;

    /// Returns the session with this key. The session may have ended already, so the caller must check `ends_at`.
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;

    /// Records that the session was used at `at`.
    async fn touch(&self, session: &Session, at: OffsetDateTime) -> Result<(), StoreError>;

    /// Requests a lease: no other process may refresh the session from version `version` before `until`.
    async fn lease(
        &self,
        key: &SessionKey,
        version: u64,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Lease, StoreError>;

    /// Releases the lease for `version` that ends at `until`, without a refresh. Does nothing if the lease has passed to
    /// somebody else, because the request may arrive late or twice.
    async fn release(&self, key: &SessionKey, version: u64, until: OffsetDateTime) -> Result<(), StoreError>;

    /// Stores the refreshed tokens and ends the lease, if the session still has version `version`. Otherwise returns
    /// false.
    async fn refreshed(&self, key: &SessionKey, version: u64, sealed: &str) -> Result<bool, StoreError>;

    /// Ends one session.
    async fn end(&self, key: &SessionKey) -> Result<(), StoreError>;

    /// Ends one session at the time `at`, unless it ends earlier anyway.
    async fn end_at(&self, key: &SessionKey, at: OffsetDateTime) -> Result<(), StoreError>;

    /// Ends all sessions of a Flex user, and returns their number.
    async fn end_all_of(&self, user: &FlexUserSid) -> Result<u64, StoreError>;

    /// Removes the sessions that ended before `now`, and returns their number. Does nothing if the store removes
    /// ended sessions by itself.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// Makes sure that only one caller does an action. To claim an action is to get the right to do it, which nobody else
/// can then get.
#[async_trait]
pub trait OnceOnly: fmt::Debug + Send + Sync {
    /// Claims the action `what` of the kind `kind`. Returns true for the first caller, and false for every later
    /// caller, at least until `until`.
    async fn claim(
        &self,
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError>;
}

/// The result of a count within a time span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The number of counts, including this one.
    pub times: u32,
    /// When the time span ends. After that, counting restarts at one.
    pub until: OffsetDateTime,
}

/// Counters for rate limits.
#[async_trait]
pub trait Counters: fmt::Debug + Send + Sync {
    /// Increments the counter of `what`, of the kind `kind`, and returns the new number. Concurrent callers get
    /// different numbers.
    ///
    /// The first count begins a time span of the length `span`. The first count after its end begins a new one.
    async fn count(
        &self,
        kind: &str,
        what: &[&str],
        now: OffsetDateTime,
        span: Duration,
    ) -> Result<Counted, StoreError>;

    /// Removes the counter of `what`, of the kind `kind`. Does nothing if there is no such counter.
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

/// Bindings of identities to Flex users. An identity has at most one user, and a user at most one identity. So nobody
/// gets another person's user through a changed e-mail address or a reused username.
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
