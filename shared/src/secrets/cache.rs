//! Caches one secret and refreshes it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use time::{Duration, OffsetDateTime};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout_at;

use super::{FetchError, SecretError, SecretSource, SecretValue, Stage};
use crate::base::clock_rng::Clock;
use crate::base::outbound::Deadline;
use crate::telemetry;

/// A cached value younger than this is served without a fetch.
const FRESH: Duration = Duration::seconds(300);
/// While the secret cannot be fetched, a cached value younger than this is still served.
const STALE: Duration = Duration::hours(1);
/// For this long after a failed fetch, [`CachedSecret::get`] does not fetch again if it can return a stale value, or if
/// only an operator can fix the error. In the second case, it returns the same error again.
const PAUSE: Duration = Duration::seconds(5);
/// The minimum time between two fetches caused by rejected credentials. Without this limit, an attacker could cause a
/// fetch with every bad token.
const COOL_DOWN: Duration = Duration::seconds(60);

/// A secret's value with its version.
pub struct Held<T> {
    /// The parsed document.
    pub value: T,
    /// The version of the secret that contains this value. Empty if the secret is not set.
    pub version: String,
    is_set: bool,
    fetched_at: OffsetDateTime,
}

impl<T> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<T> Held<T> {
    /// Whether the secret exists and contains a document.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_set
    }
}

/// A cached secret whose document has the type `T`.
pub struct CachedSecret<T> {
    id: String,
    source: Arc<dyn SecretSource>,
    clock: Arc<dyn Clock>,
    /// Makes the default value of a secret that is not set. `None` if the secret must be set.
    unset: Option<fn() -> T>,
    latest: RwLock<Option<Arc<Held<T>>>>,
    // A reader that fetches the secret holds this lock. Other readers wait for the lock, and then find the new value.
    flight: Mutex<Flight>,
}

#[derive(Default)]
struct Flight {
    failed: Option<(OffsetDateTime, SecretError)>,
    forced_at: Option<OffsetDateTime>,
}

impl<T> fmt::Debug for CachedSecret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> CachedSecret<T> {
    /// Makes a cache for the secret with the name `id`, without fetching anything yet.
    #[must_use]
    pub fn new(id: impl Into<String>, source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self {
        let (latest, flight) = (RwLock::new(None), Mutex::default());
        Self { id: id.into(), source, clock, unset: None, latest, flight }
    }

    /// Makes a cache for a secret that an operator need not set. A secret is unset if it does not exist yet, or if its
    /// text is blank or `null`. The value of an unset secret is `T::default()`, without an error or an alarm. There is
    /// one exception: if the secret had a value within the last hour, being unset is an error, because somebody may
    /// have removed the value by mistake.
    #[must_use]
    pub fn that_may_be_unset(id: impl Into<String>, source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self
    where
        T: Default,
    {
        Self { unset: Some(T::default), ..Self::new(id, source, clock) }
    }

    /// Returns the name of the secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns a value that is less than five minutes old. If the secret cannot be fetched, returns the last value
    /// until that value is an hour old.
    pub async fn get(&self, deadline: Deadline) -> Result<Arc<Held<T>>, SecretError> {
        if let Some(held) = self.younger_than(FRESH) {
            return Ok(held);
        }
        let mut flight = self.flight(deadline).await?;
        let now = self.clock.now();
        if let Some(held) = self.younger_than(FRESH) {
            return Ok(held);
        }
        let stale = self.younger_than(STALE);
        if let Some((failed_at, error)) = &flight.failed
            && now - *failed_at < PAUSE
        {
            match &stale {
                Some(held) => return Ok(held.clone()),
                None if error.is_definite() => return Err(error.clone()),
                None => {}
            }
        }
        match self.refresh(&mut flight, deadline).await {
            Ok(held) => Ok(held),
            Err(error) => {
                tracing::warn!(secret = self.id, error = %error, served_stale = stale.is_some(), "secret not refreshed");
                stale.ok_or(error)
            }
        }
    }

    /// Returns the secret's value. If `accepts` returns false for the cached value, this method first fetches the
    /// secret again, unless a rejection has caused a fetch within the last minute. The returned value is the newest
    /// one, even if `accepts` returns false for it too.
    pub async fn get_accepted(
        &self,
        deadline: Deadline,
        accepts: impl Fn(&T) -> bool,
    ) -> Result<Arc<Held<T>>, SecretError> {
        let earlier = self.latest();
        let held = self.get(deadline).await?;
        if accepts(&held.value) {
            return Ok(held);
        }
        let is_new = earlier.is_none_or(|earlier| !Arc::ptr_eq(&earlier, &held));
        if is_new {
            self.flight(deadline).await?.forced_at = Some(held.fetched_at);
            return Ok(held);
        }
        self.get_after_rejection(&held.version, deadline).await
    }

    /// Fetches the secret again, because a client's credential does not match the cached version `rejected`.
    ///
    /// Returns the cached value without a fetch in two cases: the cached version is no longer `rejected`, or another
    /// rejection has caused a fetch within the last minute. If the fetch fails, returns the cached value until that
    /// value is an hour old.
    pub async fn get_after_rejection(&self, rejected: &str, deadline: Deadline) -> Result<Arc<Held<T>>, SecretError> {
        let mut flight = self.flight(deadline).await?;
        let now = self.clock.now();
        if let Some(held) = self.latest() {
            let cooling = flight.forced_at.is_some_and(|forced_at| now - forced_at < COOL_DOWN);
            if held.version != rejected || cooling {
                return Ok(held);
            }
        }
        flight.forced_at = Some(now);
        match (self.refresh(&mut flight, deadline).await, self.younger_than(STALE)) {
            (Ok(held), _) | (Err(_), Some(held)) => Ok(held),
            (Err(error), None) => Err(error),
        }
    }

    /// Fetches the value again, whatever the age of the cached value. The caller must know that the cached value is
    /// invalid, and must limit these calls.
    pub(super) async fn reread(&self, deadline: Deadline) -> Result<Arc<Held<T>>, SecretError> {
        let mut flight = self.flight(deadline).await?;
        self.refresh(&mut flight, deadline).await
    }

    /// Fetches the version with the stage `AWSPENDING`, without caching it. Returns `None` if no rotation is in
    /// progress.
    pub(super) async fn pending(&self, deadline: Deadline) -> Result<Option<Held<T>>, SecretError> {
        match self.source.fetch(&self.id, Stage::Pending, deadline).await {
            Ok(value) => Ok(Some(self.parse(&value)?)),
            Err(FetchError::NotFound) => Ok(None),
            Err(source) => Err(SecretError::Unreadable { id: self.id.clone(), source }),
        }
    }

    async fn flight(&self, deadline: Deadline) -> Result<MutexGuard<'_, Flight>, SecretError> {
        let waited = timeout_at(deadline.instant(), self.flight.lock()).await;
        waited.map_err(|_| SecretError::Timeout { id: self.id.clone() })
    }

    async fn refresh(&self, flight: &mut Flight, deadline: Deadline) -> Result<Arc<Held<T>>, SecretError> {
        let fetched = self.source.fetch(&self.id, Stage::Current, deadline).await;
        let fetched = match (self.unset_after(&fetched), fetched) {
            (Some(unset), _) => Ok(unset),
            (None, Ok(value)) => self.parse(&value),
            (None, Err(source)) => Err(SecretError::Unreadable { id: self.id.clone(), source }),
        };
        telemetry::refreshed("secret", fetched.is_ok());
        if fetched.is_err() {
            telemetry::credential_failed();
        }
        flight.failed = fetched.as_ref().err().map(|error| (self.clock.now(), error.clone()));
        let held = Arc::new(fetched?);
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Some(held.clone());
        Ok(held)
    }

    /// Returns the default value if `fetched` shows that the secret is not set. Returns `None` if the secret is set,
    /// has no default value, or had a value within the last hour.
    fn unset_after(&self, fetched: &Result<SecretValue, FetchError>) -> Option<Held<T>> {
        let is_unset = match fetched {
            Ok(secret) => matches!(secret.text.expose_secret().trim(), "" | "null"),
            Err(error) => matches!(error, FetchError::NotFound),
        };
        let was_set = || self.younger_than(STALE).is_some_and(|held| held.is_set);
        let value = self.unset.filter(|_| is_unset && !was_set())?();
        tracing::info!(secret = self.id, "the secret is not set yet");
        Some(Held { value, version: String::new(), is_set: false, fetched_at: self.clock.now() })
    }

    fn parse(&self, secret: &SecretValue) -> Result<Held<T>, SecretError> {
        let malformed = |reason: String| SecretError::Malformed { id: self.id.clone(), reason };
        // An error message of serde_json may quote a secret value. Use only messages that quote nothing.
        let value = serde_json::from_str(secret.text.expose_secret()).map_err(|error| {
            malformed(if error.is_data() { shape(&error) } else { "it is not a JSON document".to_owned() })
        })?;
        Ok(Held { value, version: secret.version.clone(), is_set: true, fetched_at: self.clock.now() })
    }

    fn latest(&self) -> Option<Arc<Held<T>>> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<Held<T>>> {
        let now = self.clock.now();
        self.latest().filter(|held| now - held.fetched_at < age)
    }
}

/// Describes the mistake in a document, without quoting any of its values.
fn shape(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let quotes_a_value = text.starts_with("invalid") || text.starts_with("unknown variant");
    if quotes_a_value {
        format!("line {} column {} holds a value of the wrong kind", error.line(), error.column())
    } else {
        text
    }
}
