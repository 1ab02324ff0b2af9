//! The switch with which an operator ends all sessions, or lets nobody sign in.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::StoreError;
use crate::base::clock_rng::Clock;

/// How long a process relies on what it has read.
const CACHED: Duration = Duration::seconds(30);

/// Whether people may sign in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignInState {
    /// Since when nobody may sign in or get a token. `None` if people may.
    pub locked_at: Option<OffsetDateTime>,
    /// Sessions that began at this time or earlier have ended.
    pub ended_at: Option<OffsetDateTime>,
}

impl SignInState {
    /// Whether this state ends a session that began at `created_at`.
    #[must_use]
    pub fn ends(&self, created_at: OffsetDateTime) -> bool {
        self.ended_at.is_some_and(|ended_at| created_at <= ended_at)
    }
}

/// The switch in the store.
#[async_trait]
pub trait SignInSwitch: fmt::Debug + Send + Sync {
    /// Returns the current state.
    async fn sign_in_state(&self) -> Result<SignInState, StoreError>;

    /// Locks the sign-in at this time, or unlocks it.
    async fn set_lock(&self, locked_at: Option<OffsetDateTime>) -> Result<(), StoreError>;

    /// Ends every session that began at `at` or earlier. An earlier time than the stored one changes nothing.
    async fn end_until(&self, at: OffsetDateTime) -> Result<(), StoreError>;
}

/// The switch, as one process has read it in the last 30 seconds.
#[derive(Debug)]
pub struct CachedSignInState {
    switch: Arc<dyn SignInSwitch>,
    clock: Arc<dyn Clock>,
    read: Mutex<Option<(OffsetDateTime, SignInState)>>,
}

impl CachedSignInState {
    /// Makes a cache that has read nothing yet.
    #[must_use]
    pub fn new(switch: Arc<dyn SignInSwitch>, clock: Arc<dyn Clock>) -> Self {
        Self { switch, clock, read: Mutex::default() }
    }

    /// Returns the state, at most 30 seconds old. Fails if the store fails and the state is older: otherwise a failing
    /// store would let people in.
    pub async fn get(&self) -> Result<SignInState, StoreError> {
        let now = self.clock.now();
        let cached = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match cached {
            Some((at, state)) if now >= at && now - at < CACHED => Ok(state),
            _ => {
                let state = self.switch.sign_in_state().await?;
                *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, state));
                Ok(state)
            }
        }
    }
}
