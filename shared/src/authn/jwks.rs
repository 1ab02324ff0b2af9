//! Caches an issuer's keys, and decides when to fetch them again.
//!
//! If the cached keys are too old, the next request that needs them fetches new ones, and concurrent requests wait for
//! this fetch. There is no background refresh, because Lambda freezes the process between requests.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration as StdDuration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use url::Url;

use super::fault::{CallerError, TokenFault};
use super::keys::KeySet;
use super::settings::{is_loopback, web_address};
use super::token::UnverifiedToken;
use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{self, Deadline, HttpClient, SendError};
use crate::base::strict_json::{self, StrictJsonError};
use crate::telemetry;

/// How long fetched keys are fresh: as long as the issuer's `max-age` says, but at least `MIN_FRESH` and at most
/// `MAX_FRESH`.
const MIN_FRESH: Duration = Duration::minutes(5);
const MAX_FRESH: Duration = Duration::hours(24);

/// While Flexgate cannot reach the issuer, it uses stale keys for this long.
const MAX_STALE: Duration = Duration::hours(24);

/// The minimum time between two fetches caused by tokens with unknown keys or bad signatures. Anybody can send such
/// tokens. Without this limit, an attacker could make Flexgate fetch the keys again and again.
const UNKNOWN_KEY_PAUSE: Duration = Duration::seconds(60);

/// The pause after a failed fetch: `PAUSE_COLD` if no keys are cached, and `PAUSE_STALE` if stale keys are cached.
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

/// What happens to a token if the cached keys do not verify it and Flexgate cannot fetch newer keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The token counts as invalid. This is right for a caller, who can present the token again or get another one.
    Refuse,
    /// The keys count as unavailable. This is right for a transmitter (an identity system that sends signals): it never
    /// sends a refused token again, so a refusal would lose the signal.
    Postpone,
}

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: Box<str>,
    jwks_uri: Option<Url>,
    metadata: Metadata,
    doubt: Doubt,
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
    /// The number of fetches that have begun.
    fetches: u64,
    failed_at: Option<OffsetDateTime>,
    unknown_key_at: Option<OffsetDateTime>,
}

impl State {
    /// How long Flexgate must still wait before it may fetch the keys again. `None` if it may fetch them now.
    fn pause(&self, now: OffsetDateTime) -> Option<Duration> {
        let (since, pause) = match &self.cached {
            None => (self.failed_at, PAUSE_COLD),
            Some(cached) if now < cached.fresh_until => (self.unknown_key_at, UNKNOWN_KEY_PAUSE),
            Some(_) => (self.failed_at, PAUSE_STALE),
        };
        since.map(|since| since + pause - now).filter(|left| left.is_positive())
    }
}

#[derive(Clone)]
struct Cached {
    keys: Arc<KeySet>,
    fresh_until: OffsetDateTime,
    /// Which fetch returned the keys: the value of `State::fetches` when that fetch began.
    fetch: u64,
}

impl Cached {
    fn verify<T>(&self, token: &UnverifiedToken<'_, T>) -> Result<(), TokenFault> {
        token.check_signature(self.keys.find(token.unverified_kid.as_deref(), token.algorithm)?)
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
        let (metadata, doubt) = (Metadata::OpenId, Doubt::Refuse);
        Self {
            issuer,
            jwks_uri,
            metadata,
            doubt,
            http,
            clock_rng,
            state: RwLock::default(),
            fetching: Mutex::default(),
        }
    }

    /// Marks these keys as a transmitter's keys. A transmitter is an identity system that sends signals. If no URL for
    /// the keys is configured, Flexgate reads the URL from `metadata`.
    pub(super) fn of_transmitter(self, metadata: Metadata) -> Self {
        Self { metadata, doubt: Doubt::Postpone, ..self }
    }

    /// Fetches the keys only to test whether this works, and discards them. Returns the reason for a failure.
    pub(super) async fn probe(&self, deadline: Deadline) -> Result<(), FetchError> {
        self.fetch(deadline.within(FETCH_TIMEOUT)).await.map(drop)
    }

    /// Checks that the issuer signed the token. Fetches the issuer's keys if the cached keys are stale or do not verify
    /// the token: the issuer may have added a key, or replaced a key without a new `kid`.
    pub(super) async fn verify<T>(
        &self,
        token: &UnverifiedToken<'_, T>,
        deadline: Deadline,
    ) -> Result<(), CallerError> {
        let arrival = self.state().fetches;
        let tried = self.fresh();
        if tried.as_ref().is_some_and(|cached| cached.verify(token).is_ok()) {
            return Ok(());
        }
        let Ok(_turn) = timeout_at(deadline.instant(), self.fetching.lock()).await else {
            return self.judge(token, arrival);
        };
        // Another request may have fetched the keys while this request waited for the lock.
        let is_new = |cached: &Cached| tried.as_ref().is_none_or(|tried| tried.fetch != cached.fetch);
        let newer = self.fresh().filter(is_new);
        if newer.as_ref().is_some_and(|newer| newer.verify(token).is_ok()) {
            return Ok(());
        }
        let fetched = newer.is_none_or(|newer| newer.fetch <= arrival) && self.refresh(deadline).await;
        let verdict = self.judge(token, arrival);
        if fetched && verdict.is_err() {
            // The new keys do not verify the token either. Record this, to limit the fetches for such tokens.
            self.update(|state| state.unknown_key_at = Some(self.clock_rng.now()));
        }
        verdict
    }

    /// Checks the token with the cached keys, unless they have been stale for longer than `MAX_STALE`. `arrival` is the
    /// number of fetches that had begun when the token arrived. Only a fetch that began later can show that the issuer
    /// has no key for the token.
    fn judge<T>(&self, token: &UnverifiedToken<'_, T>, arrival: u64) -> Result<(), CallerError> {
        let (now, state) = (self.clock_rng.now(), self.state());
        let unavailable =
            || CallerError::Unavailable { retry_after: state.pause(now).unwrap_or(PAUSE_COLD).unsigned_abs() };
        let cached = state.cached.as_ref().filter(|cached| now < cached.fresh_until + MAX_STALE);
        let cached = cached.ok_or_else(unavailable)?;
        match cached.verify(token) {
            Err(_) if self.doubt == Doubt::Postpone && cached.fetch <= arrival => Err(unavailable()),
            verdict => Ok(verdict?),
        }
    }

    /// Fetches the keys if none are cached. A failure here does not start the pause that usually follows a failed
    /// fetch, so the first request can fetch the keys at once.
    pub(super) async fn prewarm(&self, deadline: Deadline) {
        if let Ok(_turn) = timeout_at(deadline.instant(), self.fetching.lock()).await
            && self.state().cached.is_none()
        {
            self.refresh(deadline).await;
            self.update(|state| state.failed_at = None);
        }
    }

    /// Returns the cached keys while they are fresh.
    fn fresh(&self) -> Option<Cached> {
        self.state().cached.filter(|cached| self.clock_rng.now() < cached.fresh_until)
    }

    /// Fetches the keys, unless the last attempt was too recent. Returns true if this call has fetched the keys.
    async fn refresh(&self, deadline: Deadline) -> bool {
        let now = self.clock_rng.now();
        let state = self.state();
        if state.pause(now).is_some() {
            return false;
        }
        let fetch = state.fetches + 1;
        self.update(|state| state.fetches = fetch);
        if state.cached.is_some_and(|cached| now < cached.fresh_until) {
            // Record the fetch before it begins. Otherwise a caller who disconnects early could cause a fetch with
            // every request.
            self.update(|state| state.unknown_key_at = Some(now));
        }
        let fetched = self.fetch(deadline.within(FETCH_TIMEOUT)).await;
        telemetry::refreshed("keys", fetched.is_ok());
        match fetched {
            Ok((keys, fresh)) => {
                let cached = Cached { keys: Arc::new(keys), fresh_until: self.clock_rng.now() + fresh, fetch };
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

    /// Fetches the keys. Returns them, and how long they are fresh.
    async fn fetch(&self, deadline: Deadline) -> Result<(KeySet, Duration), FetchError> {
        let uri = match &self.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discover(deadline).await?,
        };
        let (headers, document) = self.get(uri, deadline).await?;
        let keys = KeySet::parse(&document).filter(|keys| !keys.is_empty()).ok_or(FetchError::NoKeys)?;
        Ok((keys, max_age(&headers).clamp(MIN_FRESH, MAX_FRESH)))
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

/// Returns `max-age` from `Cache-Control` (RFC 9111 §5.2.2.1). Returns zero if `max-age` is missing, or if the header
/// contains `no-store` or `no-cache`.
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
