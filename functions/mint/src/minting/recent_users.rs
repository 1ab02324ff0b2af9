//! Caches the users this process has just seen, so that a warm mint need not read them from Twilio again.
//!
//! Why that is safe. A cached user was read from Twilio *after* the identity was bound to it, is at most a minute old,
//! and counts only while the store, which every mint reads, still binds that identity to that user. Deprovisioning
//! through Flexgate, in any process, first deactivates the user and then unbinds the identity. After that no cached
//! user counts, and before an identity is bound again its user is looked up and found deactivated. A user deactivated
//! elsewhere (the Flex console) can be minted for up to a minute longer, if Twilio does not refuse that itself; a token
//! minted a minute earlier would have lived for up to an hour anyway. Cached roles are compared with those of the
//! minted token, so a removed role is noticed there, and an added one triggers a new lookup.
//!
//! A lock per identity is held during the lookup, so fifty concurrent first requests of one person cause one lookup.

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

/// Above this many identities, the stale ones are dropped.
const CROWD: usize = 10_000;

/// The users that this process has seen, by identity.
#[derive(Debug, Default)]
pub(super) struct RecentUsers(Mutex<HashMap<Identity, Arc<tokio::sync::Mutex<Recalled>>>>);

/// What is cached about one identity's user.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    seen: Option<(FlexUser, OffsetDateTime)>,
    /// The claims of the token with which the user was last looked up.
    claims: Option<TokenClaims>,
}

/// The lock on one identity's lookup.
pub(super) type Turn = OwnedMutexGuard<Recalled>;

impl RecentUsers {
    /// Waits for the identity's lock; `None` if the deadline comes first.
    pub(super) async fn turn(&self, identity: &Identity, now: OffsetDateTime, deadline: Deadline) -> Option<Turn> {
        let recalled = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= CROWD {
                // A locked entry is in use, so keep it.
                all.retain(|_, one| one.try_lock().map_or(true, |recalled| recalled.recent(now).is_some()));
            }
            all.entry(identity.clone()).or_default().clone()
        };
        timeout_at(deadline.instant(), recalled.lock_owned()).await.ok()
    }

    /// Drops the identity's cached user, even if another request holds the lock.
    pub(super) fn forget(&self, identity: &Identity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(identity);
    }
}

impl Recalled {
    /// The cached user, if it is recent and still the one the store binds the identity to.
    pub(super) fn user(&self, bound: Option<&FlexUserSid>, now: OffsetDateTime) -> Option<&FlexUser> {
        self.recent(now).filter(|user| Some(&user.flex_user_sid) == bound)
    }

    /// The SID of the user last cached for the identity, however old.
    pub(super) fn sid(&self) -> Option<&FlexUserSid> {
        self.seen.as_ref().map(|(user, _)| &user.flex_user_sid)
    }

    /// Whether the cached user was updated from these same claims, where users follow claims.
    pub(super) fn follows(&self, claims: &TokenClaims) -> bool {
        self.claims.as_ref().is_some_and(|earlier| claims.add_nothing_to(earlier))
    }

    /// Caches what Twilio says of the user, and the token's claims. `at` is when Twilio was asked, not when it answered.
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
