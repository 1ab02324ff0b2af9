//! The store's traits for sessions: the sessions themselves, each person's newest sign-in, and the list of sessions.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{StoreError, fingerprint};
use crate::domain::{FlexUserSid, ProfileName};

/// The maximum lifetime of a session.
pub(super) const LONGEST: Duration = Duration::days(7);

/// The key of a stored session: the SHA-256 of the session's identifier in the cookie. So nobody can compute the cookie
/// from the store. Administrators see the key as the session's public id, because the key gives no access.
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

/// The string is not the key of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a session, with 43 characters")]
pub struct SessionKeyError;

/// Parses a session's key, which is also the session's public id. The identifier in the cookie is a different string.
impl FromStr for SessionKey {
    type Err = SessionKeyError;

    fn from_str(text: &str) -> Result<Self, SessionKeyError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.len() == 43 && text.bytes().all(allowed) { Ok(Self(text.into())) } else { Err(SessionKeyError) }
    }
}

/// How a session began, for administrators. Sessions from version 0.2.0 have none of these values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOrigin {
    /// The username that Twilio stated at the sign-in.
    pub username: Option<String>,
    /// The browser's network, or its whole IP address if the settings say so.
    pub network: Option<String>,
    /// The family of the browser.
    pub browser: Option<String>,
    /// How long the session may be unused, according to the settings at the sign-in.
    pub idle: Option<Duration>,
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
    /// When the login that led to the session began. The person authenticated after this time.
    pub created_at: OffsetDateTime,
    /// When the session was last used.
    pub used_at: OffsetDateTime,
    /// When the session ends, even if it is in use. The store may remove it after that time.
    pub ends_at: OffsetDateTime,
    /// The seat of this session, if the session replaces an earlier session of the person in the same browser. The seat
    /// is the key of the first of these sessions. `None` if this session is the first one.
    pub seat: Option<SessionKey>,
    /// How the session began.
    pub origin: SessionOrigin,
}

impl Session {
    /// Returns the session's seat. A seat stands for one browser of one person, and is identified by the key of the
    /// first session there. If the person signs in again in the same browser, the new session has the same seat.
    #[must_use]
    pub fn seat(&self) -> &SessionKey {
        self.seat.as_ref().unwrap_or(&self.key)
    }
}

/// The newest sign-in of a person with a profile, and the browser (seat) in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The seat of the newest session.
    pub seat: SessionKey,
    /// Whether the settings allow only one browser (seat) at a time for this person.
    pub is_only: bool,
}

impl Seat {
    /// Whether this sign-in ends an earlier session of the same person and profile in another browser. `other` is the
    /// seat of that session.
    #[must_use]
    pub fn displaces(&self, other: &SessionKey) -> bool {
        self.is_only && self.seat != *other
    }
}

/// A session as administrators see it. It has no tokens, not even encrypted ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// The key of the session, which is its public id.
    pub key: SessionKey,
    /// The SSO profile through which the person signed in.
    pub profile: ProfileName,
    /// The Flex user who signed in.
    pub flex_user_sid: FlexUserSid,
    /// When the person signed in.
    pub created_at: OffsetDateTime,
    /// When the session was last used, to the minute.
    pub used_at: OffsetDateTime,
    /// When the session ends, even if it is in use.
    pub ends_at: OffsetDateTime,
    /// How the session began.
    pub origin: SessionOrigin,
}

impl ListedSession {
    /// Whether the session has ended at `now`, because it is too old or because nobody used it.
    #[must_use]
    pub fn has_ended(&self, now: OffsetDateTime) -> bool {
        now >= self.ends_at || self.origin.idle.is_some_and(|idle| now - self.used_at >= idle)
    }
}

/// A position in the list of all sessions: directly after the session with this user and key.
///
/// As text: `<Flex user SID>.<session key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPosition {
    /// The Flex user whose session is directly before this position.
    pub user: FlexUserSid,
    /// The key of the session that is directly before this position.
    pub key: SessionKey,
}

impl fmt::Display for SessionPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.user, self.key.as_str())
    }
}

impl FromStr for SessionPosition {
    type Err = SessionKeyError;

    fn from_str(text: &str) -> Result<Self, SessionKeyError> {
        let (user, key) = text.split_once('.').ok_or(SessionKeyError)?;
        Ok(Self { user: user.parse().map_err(|_| SessionKeyError)?, key: key.parse()? })
    }
}

/// A page of the list of sessions.
#[derive(Debug, Clone, Default)]
pub struct SessionPage {
    /// The sessions. A page can be empty even if more pages follow.
    pub sessions: Vec<ListedSession>,
    /// Where the next page begins. `None` on the last page.
    pub next: Option<SessionPosition>,
}

/// Whether this process may refresh the session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// This process may refresh the session. No other process may refresh it until the lease ends.
    Granted,
    /// Another process holds the lease.
    Held,
    /// Somebody has refreshed the session, so it has another version now. Or the session no longer exists.
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

    /// Requests a lease for the session with version `version`. The lease ends at `until`. Before that time, no other
    /// process may refresh this version.
    async fn lease(
        &self,
        key: &SessionKey,
        version: u64,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Lease, StoreError>;

    /// Releases the lease for `version` that ends at `until`, without a refresh. This request may arrive late or twice,
    /// so it does nothing if another process has the lease now.
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

    /// Ends a Flex user's sessions that began at `at` or earlier, and returns their keys. Sessions that began later
    /// stay.
    async fn end_begun_by(&self, user: &FlexUserSid, at: OffsetDateTime) -> Result<Vec<SessionKey>, StoreError>;

    /// Removes the sessions that ended before `now`, and returns their number. Does nothing if the store removes ended
    /// sessions automatically.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// Stores the newest sign-in of each person with each profile, and the browser (seat) in which it happened.
#[async_trait]
pub trait Seats: fmt::Debug + Send + Sync {
    /// Records `session` as the newest sign-in of its person with its profile. If several sign-ins are concurrent, the
    /// last call wins. With `is_only`, this ends the person's sessions with this profile in other browsers.
    async fn take(&self, session: &Session, is_only: bool) -> Result<(), StoreError>;

    /// Returns the newest sign-in of a person with a profile. `None` if no sign-in is recorded. Version 0.2.0 recorded
    /// none.
    async fn newest(&self, user: &FlexUserSid, profile: &ProfileName) -> Result<Option<Seat>, StoreError>;
}

/// Shows administrators which people are signed in. The lists leave out every session that has ended at `now` according
/// to the store.
#[async_trait]
pub trait SessionList: fmt::Debug + Send + Sync {
    /// Returns the session with this key, unless it has reached its maximum lifetime. Also returns a session that ended
    /// because nobody used it or because the person signed in elsewhere: the session becomes usable again if an
    /// operator removes these limits.
    async fn find(&self, key: &SessionKey, now: OffsetDateTime) -> Result<Option<ListedSession>, StoreError>;

    /// Returns all sessions of a Flex user, oldest first.
    async fn of_user(&self, user: &FlexUserSid, now: OffsetDateTime) -> Result<Vec<ListedSession>, StoreError>;

    /// Returns one page of all sessions, beginning at `after`. The order depends on the store. With DynamoDB, sessions
    /// that version 0.2.0 stored are not in the list.
    async fn page(&self, after: Option<&SessionPosition>, now: OffsetDateTime) -> Result<SessionPage, StoreError>;
}
