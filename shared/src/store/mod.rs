//! The store: data that Flexgate must remember and that Twilio cannot hold. Examples are sign-in sessions, bindings of
//! identities to Flex users, and the people ledger.
//!
//! This module defines the traits. Its submodules implement them for SQLite, and for DynamoDB with SQS. All
//! implementations pass the same test suite (`tests/store.rs`). If several writers can write the same record at once,
//! each write has a condition. The store then lets only one of the writers succeed.

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
pub use sqs::SqsQueue;

use crate::domain::{FlexUserSid, Identity, ProfileName};

/// The store failed. The caller must not assume that anything was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, is full, or stayed locked for too long.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store holds a record that this version cannot read.
    #[error("the store holds a record that cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The key of a stored session: the SHA-256 of the session's identifier, which is in the cookie. So somebody who can
/// read the store cannot find out what the cookie contains.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(Box<str>);

impl SessionKey {
    /// The key for the identifier in the cookie.
    #[must_use]
    pub fn of(session_id: &str) -> Self {
        Self(fingerprint(&[session_id]).into())
    }

    /// The key, base64url.
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

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its key.
    pub key: SessionKey,
    /// The SSO profile it signed in with.
    pub profile: ProfileName,
    /// The Flex user it belongs to.
    pub flex_user_sid: FlexUserSid,
    /// The encrypted tokens; opaque to the store.
    pub sealed: String,
    /// The number of refreshes so far. When a refresh ends, its result is stored only if this number is still the same
    /// as when the refresh began.
    pub version: u64,
    /// When the person signed in.
    pub created_at: OffsetDateTime,
    /// When the session was last used.
    pub used_at: OffsetDateTime,
    /// The time at which the session ends, even if it is in use. From then on, the store may remove the session.
    pub ends_at: OffsetDateTime,
}

/// Whether this process may refresh the session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// This process may refresh the session. No other process may until the lease ends.
    Granted,
    /// No: another process holds the lease.
    Held,
    /// No: the session has been refreshed in the meantime and now has another version, or it no longer exists.
    Moved,
}

/// Sign-in sessions.
#[async_trait]
pub trait Sessions: fmt::Debug + Send + Sync {
    /// Stores a new session.
    async fn insert(&self, session: Session) -> Result<(), StoreError>;

    /// Returns the session with that key. The session may have ended already, so the caller must check `ends_at`.
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;

    /// Records that the session was used at `at`.
    async fn touch(&self, key: &SessionKey, at: OffsetDateTime) -> Result<(), StoreError>;

    /// Requests a lease: until the time `until`, no other process may refresh the session from version `version`.
    async fn lease(
        &self,
        key: &SessionKey,
        version: u64,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Lease, StoreError>;

    /// Releases the lease without a refresh.
    async fn release(&self, key: &SessionKey, version: u64) -> Result<(), StoreError>;

    /// Stores the refreshed tokens and ends the lease, if the session still has version `version`. Returns false if the
    /// session has another version by now or no longer exists.
    async fn refreshed(&self, key: &SessionKey, version: u64, sealed: &str) -> Result<bool, StoreError>;

    /// Ends one session.
    async fn end(&self, key: &SessionKey) -> Result<(), StoreError>;

    /// Ends every session of a Flex user, and returns how many there were.
    async fn end_all_of(&self, user: &FlexUserSid) -> Result<u64, StoreError>;

    /// Removes the sessions that ended before `now`, unless the store does so by itself. Returns how many it removed.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// Makes sure that an action that must happen only once is done by one caller only. A caller who gets the right to do
/// the action has claimed it. Nobody else can then claim it.
#[async_trait]
pub trait OnceOnly: fmt::Debug + Send + Sync {
    /// Claims the action `what`, which is of the kind `kind`. Returns true for the first caller, who may do the action.
    /// Returns false for every later caller, at least until `until`.
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
    /// The count, this time included.
    pub times: u32,
    /// When the time span ends. The next count then begins with one again.
    pub until: OffsetDateTime,
}

/// Counters for rate limits.
#[async_trait]
pub trait Counters: fmt::Debug + Send + Sync {
    /// Increments the counter of `what`, which is of the kind `kind`, and returns the new number. The first count
    /// begins a time span of the length `span`. The first count after the end of that span begins a new one. Concurrent
    /// callers each get a different number.
    async fn count(
        &self,
        kind: &str,
        what: &[&str],
        now: OffsetDateTime,
        span: Duration,
    ) -> Result<Counted, StoreError>;
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

/// Bindings of identities to Flex users. An identity has at most one user, and a user has at most one identity. So
/// nobody can get somebody else's Flex user with a changed e-mail address or a reused username.
#[async_trait]
pub trait Bindings: fmt::Debug + Send + Sync {
    /// The Flex user bound to the identity.
    async fn user_of(&self, identity: &Identity) -> Result<Option<FlexUserSid>, StoreError>;

    /// Binds the identity to the user. Does nothing if the identity already belongs to another user, or the user to
    /// another identity.
    async fn bind(&self, identity: &Identity, user: &FlexUserSid, now: OffsetDateTime) -> Result<Bound, StoreError>;

    /// Removes the binding of this identity to this user. Does nothing if the user is bound to another identity.
    async fn unbind_identity(&self, identity: &Identity, user: &FlexUserSid) -> Result<(), StoreError>;

    /// Removes the user's binding, if there is one.
    async fn unbind(&self, user: &FlexUserSid) -> Result<(), StoreError>;
}
