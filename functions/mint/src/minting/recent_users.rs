//! Caches the Flex users that this process has read recently, so that the next mint need not read them from Twilio.
//!
//! For every mint, Flexgate reads the binding of the caller's identity from the store. It uses the cached user only if
//! the identity is still bound to that user. When Flexgate deprovisions a user, it removes the binding, so no mint uses
//! the cached user. Before Flexgate binds the user again, it reads the user from Twilio, and so notices that the user
//! is deactivated.
//!
//! If somebody deactivates a user in the Flex Console, the person can still get tokens for up to a minute, unless
//! Twilio refuses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flexgate::base::outbound::Deadline;
use flexgate::domain::{FlexUser, FlexUserSid, Identity};
use flexgate::users::ledger::TokenClaims;
use time::{Duration, OffsetDateTime};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout_at;

/// How long a cached user can be used.
const SEEN: Duration = Duration::seconds(60);

/// When the cache has this many entries, Flexgate removes the old ones.
const CROWD: usize = 10_000;

/// The cached users, by the caller's identity.
#[derive(Debug, Default)]
pub(super) struct RecentUsers(Mutex<HashMap<Identity, Arc<tokio::sync::Mutex<Recalled>>>>);

/// One identity's entry in the cache.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    seen: Option<(FlexUser, OffsetDateTime)>,
    /// The claims of the caller's token at the time when Flexgate last read the user.
    claims: Option<TokenClaims>,
}

/// The lock on one identity's entry.
pub(super) type Turn = OwnedMutexGuard<Recalled>;

impl RecentUsers {
    /// Waits for the identity's lock. Returns `None` if the deadline comes first.
    pub(super) async fn turn(&self, identity: &Identity, now: OffsetDateTime, deadline: Deadline) -> Option<Turn> {
        let recalled = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= CROWD {
                // Keep locked entries, because requests are using them.
                all.retain(|_, one| one.try_lock().map_or(true, |recalled| recalled.recent(now).is_some()));
            }
            all.entry(identity.clone()).or_default().clone()
        };
        timeout_at(deadline.instant(), recalled.lock_owned()).await.ok()
    }

    /// Removes the identity's cached user, even if another request has the identity's lock.
    pub(super) fn forget(&self, identity: &Identity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(identity);
    }
}

impl Recalled {
    /// Returns the cached user if the user is recent and `bound` is the user's SID.
    pub(super) fn user(&self, bound: Option<&FlexUserSid>, now: OffsetDateTime) -> Option<&FlexUser> {
        self.recent(now).filter(|user| Some(&user.flex_user_sid) == bound)
    }

    /// Returns the SID of the cached user, recent or not.
    pub(super) fn sid(&self) -> Option<&FlexUserSid> {
        self.seen.as_ref().map(|(user, _)| &user.flex_user_sid)
    }

    /// Whether the cached user already reflects these claims.
    pub(super) fn follows(&self, claims: &TokenClaims) -> bool {
        self.claims.as_ref().is_some_and(|earlier| claims.add_nothing_to(earlier))
    }

    /// Caches the user and the token's claims. `at` is the time at which Flexgate sent the request to Twilio, not the
    /// time of the answer.
    pub(super) fn note(&mut self, user: FlexUser, claims: TokenClaims, at: OffsetDateTime) {
        *self = Self { seen: Some((user, at)), claims: Some(claims) };
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn recent(&self, now: OffsetDateTime) -> Option<&FlexUser> {
        self.seen.as_ref().filter(|(_, at)| (Duration::ZERO..SEEN).contains(&(now - *at))).map(|(user, _)| user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_crowd_of_old_entries_makes_room_and_a_few_do_not() {
        let users = RecentUsers::default();
        let began = OffsetDateTime::UNIX_EPOCH;
        let turn = async |number: usize, at: OffsetDateTime| {
            let identity = Identity { issuer: "https://idp.example".into(), subject: number.to_string().into() };
            let deadline = Deadline::after(std::time::Duration::from_secs(30));
            drop(users.turn(&identity, at, deadline).await.unwrap());
            users.0.lock().unwrap().len()
        };
        for number in 0..CROWD {
            assert_eq!(turn(number, began).await, number + 1);
        }
        assert_eq!(turn(CROWD, began + SEEN).await, 1);
    }
}
