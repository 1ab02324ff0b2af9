//! Caches an issuer's keys, and decides when to fetch them again.
//!
//! A request fetches keys that are too old. Concurrent requests wait for this fetch. There is no background refresh,
//! because Lambda freezes the process between requests.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration as StdDuration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jsonwebtoken::Algorithm;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use url::Url;

use super::fault::{CallerError, TokenFault};
use super::keys::{Key, KeySet};
use super::settings::{is_loopback, web_address};
use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{self, Deadline, HttpClient, SendError};
use crate::base::strict_json::{self, StrictJsonError};
use crate::telemetry;

/// The minimum and the maximum time for which fetched keys are fresh. Between these limits, the issuer's `max-age`
/// applies.
const MIN_FRESH: Duration = Duration::minutes(5);
const MAX_FRESH: Duration = Duration::hours(24);

/// How long Flexgate uses stale keys while it cannot reach the issuer.
const MAX_STALE: Duration = Duration::hours(24);

/// The minimum time between two fetches caused by tokens with unknown keys or bad signatures. Anybody can send such a
/// token.
const UNKNOWN_KEY_PAUSE: Duration = Duration::seconds(60);

/// The pause after a failed fetch. `PAUSE_COLD` applies if Flexgate has never fetched keys from this issuer, and
/// `PAUSE_STALE` if it has old keys.
const PAUSE_COLD: Duration = Duration::seconds(5);
const PAUSE_STALE: Duration = Duration::seconds(60);

/// The time limit of one fetch, for metadata and keys together.
const FETCH_TIMEOUT: StdDuration = StdDuration::from_secs(4);

const MAX_DOCUMENT: usize = 256 * 1024;

/// The document that names an issuer's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    /// `{issuer}/.well-known/openid-configuration` (OIDC Discovery §4).
    OpenId,
    /// `/.well-known/ssf-configuration`, inserted between the host and the path of the issuer's URL (Shared Signals
    /// Framework 1.0 §7.2).
    SharedSignals,
}

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: Box<str>,
    jwks_uri: Option<Url>,
    metadata: Metadata,
    http: HttpClient,
    clock_rng: ClockRng,
    /// This lock must be held only briefly, because every request reads the state.
    state: RwLock<State>,
    /// This lock is held during a fetch, so that only one fetch runs at a time.
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    cached: Option<Cached>,
    failed_at: Option<OffsetDateTime>,
    unknown_key_at: Option<OffsetDateTime>,
}

#[derive(Clone)]
struct Cached {
    keys: Arc<KeySet>,
    fresh_until: OffsetDateTime,
}

/// A key and its key set.
pub(super) struct Found {
    pub(super) key: Key,
    keys: Arc<KeySet>,
    /// Whether this request fetched the key set itself.
    just_fetched: bool,
}

impl Found {
    fn of(keys: Arc<KeySet>, unverified_kid: Option<&str>, algorithm: Algorithm) -> Result<Self, TokenFault> {
        let key = keys.find(unverified_kid, algorithm)?.clone();
        Ok(Self { key, keys, just_fetched: false })
    }
}

/// Why Flexgate could not fetch the keys. Only the log and the result of `probe` contain this error.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer from the issuer")]
    Send(#[from] SendError),
    #[error("the issuer answered with status {0}")]
    Status(StatusCode),
    #[error("the document cannot be read")]
    Json(#[from] StrictJsonError),
    #[error("the metadata belongs to another issuer")]
    OtherIssuer,
    #[error("the metadata names no usable jwks_uri")]
    JwksUri,
    #[error("the document holds no usable key")]
    NoKeys,
}

impl Keys {
    pub(super) fn new(issuer: Box<str>, jwks_uri: Option<Url>, http: HttpClient, clock_rng: ClockRng) -> Self {
        let (state, fetching) = (RwLock::default(), Mutex::default());
        Self { issuer, jwks_uri, metadata: Metadata::OpenId, http, clock_rng, state, fetching }
    }

    /// Looks for the keys in this document.
    pub(super) fn named_in(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Fetches the keys and discards them. Returns the reason for a failure.
    pub(super) async fn probe(&self, deadline: Deadline) -> Result<(), FetchError> {
        self.fetch(deadline.within(FETCH_TIMEOUT)).await.map(drop)
    }

    /// Returns the key for a token. Fetches the issuer's keys if the cached keys are stale or do not contain the key.
    pub(super) async fn find(
        &self,
        unverified_kid: Option<&str>,
        algorithm: Algorithm,
        deadline: Deadline,
    ) -> Result<Found, CallerError> {
        if let Some(settled) = self.settled(unverified_kid, algorithm) {
            return Ok(settled);
        }
        let turn = timeout_at(deadline.instant(), self.fetching.lock()).await;
        if let Ok(_turn) = turn {
            // Another request may have fetched the key while this request waited for the lock.
            if let Some(settled) = self.settled(unverified_kid, algorithm) {
                return Ok(settled);
            }
            let fetched = self.refresh(deadline).await;
            let found = self.at_hand(unverified_kid, algorithm);
            if fetched && matches!(found, Err(CallerError::Invalid(_))) {
                // The new key set does not contain the key either. Record this, to limit the fetches for unknown keys.
                self.update(|state| state.unknown_key_at = Some(self.clock_rng.now()));
            }
            return found.map(|found| Found { just_fetched: fetched, ..found });
        }
        self.at_hand(unverified_kid, algorithm)
    }

    /// Returns a newer key for a token whose signature does not match `found`. The issuer may have replaced a key
    /// without changing its `kid`. Returns `None` if there is no newer key set, or if the last fetch is too recent.
    pub(super) async fn find_newer(
        &self,
        found: &Found,
        unverified_kid: Option<&str>,
        algorithm: Algorithm,
        deadline: Deadline,
    ) -> Option<Key> {
        let _turn = timeout_at(deadline.instant(), self.fetching.lock()).await.ok()?;
        if found.just_fetched {
            // The cached keys are the newest. Record this attempt, to limit the fetches for bad signatures.
            self.update(|state| state.unknown_key_at = Some(self.clock_rng.now()));
            return None;
        }
        let is_newer = |keys: &Arc<KeySet>| !Arc::ptr_eq(keys, &found.keys);
        // Another request may have fetched the keys while this request waited for the lock.
        if !self.state().cached.is_some_and(|cached| is_newer(&cached.keys)) && !self.refresh(deadline).await {
            return None;
        }
        let newer = self.at_hand(unverified_kid, algorithm).ok()?;
        is_newer(&newer.keys).then_some(newer.key)
    }

    /// Fetches the keys if none are cached. A failure does not start the pause between fetches, so the first caller's
    /// request can fetch the keys at once.
    pub(super) async fn prewarm(&self, deadline: Deadline) {
        if let Ok(_turn) = timeout_at(deadline.instant(), self.fetching.lock()).await
            && self.state().cached.is_none()
        {
            self.refresh(deadline).await;
            self.update(|state| state.failed_at = None);
        }
    }

    /// Returns the key from the cached keys while they are fresh. Returns `None` if the issuer's keys must be fetched
    /// first.
    fn settled(&self, unverified_kid: Option<&str>, algorithm: Algorithm) -> Option<Found> {
        let cached = self.state().cached.filter(|cached| self.clock_rng.now() < cached.fresh_until)?;
        Found::of(cached.keys, unverified_kid, algorithm).ok()
    }

    /// Returns the key from the cached keys, which may be stale for less than `MAX_STALE`.
    fn at_hand(&self, unverified_kid: Option<&str>, algorithm: Algorithm) -> Result<Found, CallerError> {
        match self.state().cached {
            Some(cached) if self.clock_rng.now() < cached.fresh_until + MAX_STALE => {
                Ok(Found::of(cached.keys, unverified_kid, algorithm)?)
            }
            _ => Err(CallerError::Unavailable { retry_after: PAUSE_COLD.unsigned_abs() }),
        }
    }

    /// Fetches the keys, unless the last attempt is too recent. Returns whether Flexgate fetched the keys.
    async fn refresh(&self, deadline: Deadline) -> bool {
        let now = self.clock_rng.now();
        let state = self.state();
        let within = |since: Option<OffsetDateTime>, pause| since.is_some_and(|since| now < since + pause);
        let too_soon = match &state.cached {
            None => within(state.failed_at, PAUSE_COLD),
            Some(cached) if now < cached.fresh_until => within(state.unknown_key_at, UNKNOWN_KEY_PAUSE),
            Some(_) => within(state.failed_at, PAUSE_STALE),
        };
        if too_soon {
            return false;
        }
        if state.cached.is_some_and(|cached| now < cached.fresh_until) {
            // Record the fetch before it begins. Otherwise a caller could bypass the limit by disconnecting early.
            self.update(|state| state.unknown_key_at = Some(now));
        }
        let fetched = self.fetch(deadline.within(FETCH_TIMEOUT)).await;
        telemetry::refreshed("keys", fetched.is_ok());
        match fetched {
            Ok(cached) => {
                self.update(|state| (state.cached, state.failed_at) = (Some(cached), None));
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(issuer = &*self.issuer, error, "an issuer's keys cannot be fetched");
                self.update(|state| state.failed_at = Some(self.clock_rng.now()));
                false
            }
        }
    }

    async fn fetch(&self, deadline: Deadline) -> Result<Cached, FetchError> {
        let uri = match &self.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discover(deadline).await?,
        };
        let (headers, document) = self.get(uri, deadline).await?;
        let keys = KeySet::parse(&document).filter(|keys| !keys.is_empty()).ok_or(FetchError::NoKeys)?;
        let fresh = max_age(&headers).clamp(MIN_FRESH, MAX_FRESH);
        Ok(Cached { keys: Arc::new(keys), fresh_until: self.clock_rng.now() + fresh })
    }

    /// Returns the address of the issuer's metadata.
    fn well_known(&self) -> Result<Url, FetchError> {
        let issuer = self.issuer.trim_end_matches('/');
        match self.metadata {
            Metadata::OpenId => web_address(&format!("{issuer}/.well-known/openid-configuration")),
            Metadata::SharedSignals => web_address(issuer).map(|mut url| {
                let path = format!("/.well-known/ssf-configuration{}", url.path().trim_end_matches('/'));
                url.set_path(&path);
                url
            }),
        }
        .map_err(|_| FetchError::JwksUri)
    }

    /// Returns the `jwks_uri` from the issuer's metadata.
    async fn discover(&self, deadline: Deadline) -> Result<Url, FetchError> {
        let well_known = self.well_known()?;
        let issuer_is_loopback = is_loopback(&well_known);
        let (_, metadata) = self.get(well_known, deadline).await?;
        if metadata.get("issuer").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(FetchError::OtherIssuer);
        }
        metadata
            .get("jwks_uri")
            .and_then(|uri| web_address(uri.as_str()?).ok())
            // An issuer on another machine must not make Flexgate send requests to the local machine.
            .filter(|uri| issuer_is_loopback || !is_loopback(uri))
            .ok_or(FetchError::JwksUri)
    }

    async fn get(&self, uri: Url, deadline: Deadline) -> Result<(HeaderMap, Value), FetchError> {
        let mut request = reqwest::Request::new(Method::GET, uri);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = outbound::send(&self.http, request, deadline, MAX_DOCUMENT).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(answer.status));
        }
        Ok((answer.headers, strict_json::parse(&answer.body)?))
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Returns `max-age` from `Cache-Control` (RFC 9111 §5.2.2.1). Returns zero without `max-age`, or with `no-store` or
/// `no-cache`.
fn max_age(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        values.flat_map(|value| value.split(',')).map(|one| one.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|one| one == "no-store" || one == "no-cache") {
        return Duration::ZERO;
    }
    let seconds = directives.iter().find_map(|one| one.strip_prefix("max-age=")?.trim_matches('"').parse::<u32>().ok());
    Duration::seconds(seconds.unwrap_or(0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_as_long_as_it_says() {
        for (value, seconds) in [
            ("max-age=600", 600),
            ("public, Max-Age=\"600\", must-revalidate", 600),
            ("s-maxage=9, max-age=600", 600),
            ("max-age=600, no-store", 0),
            ("no-cache", 0),
            ("max-age=-1", 0),
            ("max-age=99999999999999999999", 0),
            ("private", 0),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, value.parse().unwrap())]);
            assert_eq!(max_age(&headers), Duration::seconds(seconds), "{value}");
        }
        assert_eq!(max_age(&HeaderMap::new()), Duration::ZERO);
    }
}
