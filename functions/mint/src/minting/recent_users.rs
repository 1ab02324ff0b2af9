//! Caches the Flex users that this process read recently, so that the next mint need not read them from Twilio again.
//!
//! This is safe for these reasons. A cached user was read from Twilio *after* the identity was bound to it, and is at
//! most a minute old. Every mint reads the binding from the store, and uses the cached user only if the identity is
//! still bound to it. When a user is deprovisioned through Flexgate, in any process, Flexgate first deactivates the
//! user and then unbinds the identity. From then on, no mint uses the cached user. Before the identity can be bound
//! again, Flexgate reads the user from Twilio and sees that it is deactivated.
//!
//! A user who is deactivated elsewhere (in the Flex Console) can get a token for up to a minute longer, unless Twilio
//! itself refuses. This adds little risk: a token that was minted just before the deactivation lives for up to an hour
//! anyway. Flexgate also compares the roles of the minted token with the roles of the cached user. A removed role is
//! missing from the token, and an added role makes Flexgate read the user again.
//!
//! Reading a user holds a lock for the identity. So if one person sends fifty first requests at once, only one of them
//! reads the user from Twilio.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flexgate::base::outbound::Deadline;
use flexgate::domain::{FlexUser, FlexUserSid, Identity};
use flexgate::users::ledger::TokenClaims;
use time::{Duration, OffsetDateTime};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout_at;

/// How long a cached user is trusted.
const SEEN: Duration = Duration::seconds(60);

/// Once the cache holds this many identities, Flexgate drops the identities whose cached user is more than a minute
/// old.
const CROWD: usize = 10_000;

/// The users that this process has read, by the caller's identity.
#[derive(Debug, Default)]
pub(super) struct RecentUsers(Mutex<HashMap<Identity, Arc<tokio::sync::Mutex<Recalled>>>>);

/// What is cached about one identity's user.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    seen: Option<(FlexUser, OffsetDateTime)>,
    /// The claims of the caller's token at the time when the user was last read.
    claims: Option<TokenClaims>,
}

/// The lock on one identity's lookup.
pub(super) type Turn = OwnedMutexGuard<Recalled>;

impl RecentUsers {
    /// Waits for the identity's lock. Returns `None` if the deadline comes first.
    pub(super) async fn turn(&self, identity: &Identity, now: OffsetDateTime, deadline: Deadline) -> Option<Turn> {
        let recalled = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= CROWD {
                // If an entry is locked, a request is using it, so keep the entry.
                all.retain(|_, one| one.try_lock().map_or(true, |recalled| recalled.recent(now).is_some()));
            }
            all.entry(identity.clone()).or_default().clone()
        };
        timeout_at(deadline.instant(), recalled.lock_owned()).await.ok()
    }

    /// Drops the identity's cached user, even if another request holds the identity's lock.
    pub(super) fn forget(&self, identity: &Identity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(identity);
    }
}

impl Recalled {
    /// Returns the cached user if it is recent and the store still binds the identity to it.
    pub(super) fn user(&self, bound: Option<&FlexUserSid>, now: OffsetDateTime) -> Option<&FlexUser> {
        self.recent(now).filter(|user| Some(&user.flex_user_sid) == bound)
    }

    /// Returns the SID of the user last cached for the identity, however long ago that was.
    pub(super) fn sid(&self) -> Option<&FlexUserSid> {
        self.seen.as_ref().map(|(user, _)| &user.flex_user_sid)
    }

    /// Whether the cached user is up to date with these claims. This is so if the claims add nothing to the cached
    /// claims. The result matters only if mints also update users from claims.
    pub(super) fn follows(&self, claims: &TokenClaims) -> bool {
        self.claims.as_ref().is_some_and(|earlier| claims.add_nothing_to(earlier))
    }

    /// Caches the user that Twilio returned, and the token's claims. `at` is the time when the request was sent to
    /// Twilio, not the time of the answer.
    pub(super) fn note(&mut self, user: FlexUser, claims: TokenClaims, at: OffsetDateTime) {
        *self = Self { seen: Some((user, at)), claims: Some(claims) };
    }

    /// Drops the cached user.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn recent(&self, now: OffsetDateTime) -> Option<&FlexUser> {
        self.seen.as_ref().filter(|(_, at)| (Duration::ZERO..SEEN).contains(&(now - *at))).map(|(user, _)| user)
    }
}
