//! The sign-in switch, with which an operator ends all sessions or stops all sign-ins.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::StoreError;
use crate::base::clock_rng::Clock;

/// How long a process uses the sign-in state that it has read, before it reads the state again.
const CACHED: Duration = Duration::seconds(30);

/// The state of the sign-in switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignInState {
    /// The time at which an operator stopped all sign-ins. Since then, nobody can sign in or get a token. `None` if
    /// sign-ins are allowed.
    pub locked_at: Option<OffsetDateTime>,
    /// Sessions that began at this time or earlier have ended. `None` if no operator has ended all sessions.
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

    /// Stops all sign-ins from this time on. `None` allows them again.
    async fn set_lock(&self, locked_at: Option<OffsetDateTime>) -> Result<(), StoreError>;

    /// Ends every session that began at `at` or earlier. A time earlier than the stored one changes nothing.
    async fn end_until(&self, at: OffsetDateTime) -> Result<(), StoreError>;
}

/// The cached state of the sign-in switch ([`SignInSwitch`]). A process reads the switch again after 30 seconds.
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

    /// Returns the state, at most 30 seconds old. Returns an error if the cached state is older and the store fails. An
    /// older state could let people sign in although an operator has stopped sign-ins.
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
