//! What must be remembered and Twilio cannot: sign-in sessions, and which identity is which Flex user.
//!
//! Traits here, adapters beside them. Every adapter passes the one conformance suite
//! (`tests/store.rs`). Writes that race are conditional: the store, not the process, decides who won.

mod dynamodb;
mod events;
mod message;
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

pub use dynamodb::DynamoStore;
pub use events::{Backlog, DeadLetter, DeadLetters, EventHistory, EventQueue, EventStatus, Inbox, Settled, Taken};
pub use message::{ChangedMember, Lane, LeftGroup, Message};
pub use people::{Deactivations, Noting, People, PersonKey, PersonLease, SeenUser, Stating, UsernameIndex, Written};
pub use scim::ScimStore;
pub use settings::{Queues, StoreAt};
#[cfg(feature = "local")]
pub use sqlite::SqliteStore;
pub use sqs::SqsQueue;

use crate::domain::{FlexUserSid, Identity, ProfileName};

/// The store did not do what was asked. Nothing is known to have changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is full, or is locked for too long.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It holds something this version cannot read.
    #[error("the store holds a record that cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Under what a session is stored: the SHA-256 of the identifier in the cookie. Whoever reads the
/// store cannot make a cookie from it.
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

/// SHA-256 over the parts, each with its length before it; base64url.
fn fingerprint(parts: &[&str]) -> String {
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
    /// The tokens, sealed; opaque to the store.
    pub sealed: String,
    /// Counts the refreshes. A refresh is written only over the version it began with.
    pub version: u64,
    /// When the person signed in.
    pub created_at: OffsetDateTime,
    /// When the session was last used.
    pub used_at: OffsetDateTime,
    /// When it ends whatever happens; the store may remove it afterwards.
    pub ends_at: OffsetDateTime,
}

/// May this process refresh the session now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Yes; nobody else will until the lease ends.
    Granted,
    /// Somebody else is at it.
    Held,
    /// The session has moved on to another version, or is gone.
    Moved,
}

/// Sign-in sessions.
#[async_trait]
pub trait Sessions: fmt::Debug + Send + Sync {
    /// Keeps a new session.
    async fn insert(&self, session: Session) -> Result<(), StoreError>;

    /// The session of that key. One past its end may still be returned: the caller compares.
    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError>;

    /// Notes that the session was used at `at`.
    async fn touch(&self, key: &SessionKey, at: OffsetDateTime) -> Result<(), StoreError>;

    /// Asks to be the only one to refresh version `version` until `until`.
    async fn lease(
        &self,
        key: &SessionKey,
        version: u64,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Lease, StoreError>;

    /// Gives the lease back without a refresh.
    async fn release(&self, key: &SessionKey, version: u64) -> Result<(), StoreError>;

    /// Writes refreshed tokens over version `version`, ending the lease. False if the session has
    /// moved on or is gone.
    async fn refreshed(&self, key: &SessionKey, version: u64, sealed: &str) -> Result<bool, StoreError>;

    /// Ends one session.
    async fn end(&self, key: &SessionKey) -> Result<(), StoreError>;

    /// Ends every session of a Flex user; how many there were.
    async fn end_all_of(&self, user: &FlexUserSid) -> Result<u64, StoreError>;

    /// Removes what ended before `now`, unless the store does so by itself; how many it removed.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// Things that may happen once.
#[async_trait]
pub trait OnceOnly: fmt::Debug + Send + Sync {
    /// True for the first to claim `what` (of kind `kind`); false for everybody after, at least until
    /// `until`.
    async fn claim(
        &self,
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError>;
}

/// How often something was done within a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How often, this time included.
    pub times: u32,
    /// When the span ends and counting begins anew.
    pub until: OffsetDateTime,
}

/// Counts of what may happen only so often.
#[async_trait]
pub trait Counters: fmt::Debug + Send + Sync {
    /// Counts `what` (of kind `kind`) once more. The span of `span` begins with the first count after
    /// the last span ended; of several who count at once, each gets another number.
    async fn count(
        &self,
        kind: &str,
        what: &[&str],
        now: OffsetDateTime,
        span: Duration,
    ) -> Result<Counted, StoreError>;
}

/// What became of a wish to bind an identity to a Flex user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// They are bound, now or already.
    Yes,
    /// The identity is bound to another Flex user.
    IdentityTaken(FlexUserSid),
    /// The Flex user is bound to another identity.
    UserTaken,
}

/// Which identity is which Flex user. An identity has one user and a user one identity, so a changed
/// e-mail address or a username given to somebody new takes over no account.
#[async_trait]
pub trait Bindings: fmt::Debug + Send + Sync {
    /// The Flex user bound to the identity.
    async fn user_of(&self, identity: &Identity) -> Result<Option<FlexUserSid>, StoreError>;

    /// Binds the identity to the user, unless either is bound otherwise.
    async fn bind(&self, identity: &Identity, user: &FlexUserSid, now: OffsetDateTime) -> Result<Bound, StoreError>;

    /// Forgets whatever is bound to the user.
    async fn unbind(&self, user: &FlexUserSid) -> Result<(), StoreError>;
}
