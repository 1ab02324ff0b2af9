//! Whom this process has just seen, so that a warm mint need not look again.
//!
//! Why that is safe. What is remembered of a user was read from Twilio *after* their identity had been
//! bound to them, is at most a minute old, and counts only while the store, which every mint reads,
//! still binds that identity to that user. Deprovisioning through Flexgate, in whichever process,
//! deactivates first and then unbinds: from then on nothing remembered counts, and what could be bound
//! anew is looked up first and found deactivated. A user deactivated elsewhere (the Flex console) can
//! be minted for a minute longer, if Twilio does not refuse that itself; the token of a minute ago
//! would have lived for up to an hour. Roles are compared with those of the minted token, so one that
//! was taken away shows there, and one that was added causes a new look.
//!
//! A user's turn is held while they are looked up: fifty first requests of one person are one look-up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flexgate::base::outbound::Deadline;
use flexgate::domain::{FlexUser, FlexUserSid, Identity};
use flexgate::users::ledger::TokenClaims;
use time::{Duration, OffsetDateTime};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout_at;

/// How long what was seen is taken for true.
const SEEN: Duration = Duration::seconds(60);

/// Above this many people, those not seen lately are forgotten.
const CROWD: usize = 10_000;

/// Whom this process has seen.
#[derive(Debug, Default)]
pub(super) struct RecentUsers(Mutex<HashMap<Identity, Arc<tokio::sync::Mutex<Recalled>>>>);

/// What is remembered of one identity's user.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    seen: Option<(FlexUser, OffsetDateTime)>,
    /// The claims that the user followed then, where users follow claims.
    followed: Option<TokenClaims>,
}

/// One identity's turn to be looked up.
pub(super) type Turn = OwnedMutexGuard<Recalled>;

impl RecentUsers {
    /// Waits for the identity's turn; `None` if the deadline comes first.
    pub(super) async fn turn(&self, identity: &Identity, now: OffsetDateTime, deadline: Deadline) -> Option<Turn> {
        let recalled = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= CROWD {
                // Whoever has their turn now is in use and stays.
                all.retain(|_, one| one.try_lock().map_or(true, |recalled| recalled.recent(now).is_some()));
            }
            all.entry(identity.clone()).or_default().clone()
        };
        timeout_at(deadline.instant(), recalled.lock_owned()).await.ok()
    }

    /// Forgets the identity's user, whoever has their turn.
    pub(super) fn forget(&self, identity: &Identity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(identity);
    }
}

impl Recalled {
    /// The user, if seen lately and still the one the store binds the identity to.
    pub(super) fn user(&self, bound: Option<&FlexUserSid>, now: OffsetDateTime) -> Option<&FlexUser> {
        self.recent(now).filter(|user| Some(&user.flex_user_sid) == bound)
    }

    /// Whom the identity was last seen to be, however long ago.
    pub(super) fn sid(&self) -> Option<&FlexUserSid> {
        self.seen.as_ref().map(|(user, _)| &user.flex_user_sid)
    }

    /// Whether the user was seen to follow these claims.
    pub(super) fn follows(&self, claims: &TokenClaims) -> bool {
        self.followed.as_ref().is_some_and(|followed| claims.add_nothing_to(followed))
    }

    /// Notes what Twilio says of the user, and which claims they follow. `at` is when it was asked, not when it
    /// answered.
    pub(super) fn note(&mut self, user: FlexUser, followed: Option<TokenClaims>, at: OffsetDateTime) {
        *self = Self { seen: Some((user, at)), followed };
    }

    /// Forgets the user.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn recent(&self, now: OffsetDateTime) -> Option<&FlexUser> {
        self.seen.as_ref().filter(|(_, at)| (Duration::ZERO..SEEN).contains(&(now - *at))).map(|(user, _)| user)
    }
}
