//! Caches an issuer's keys and decides when to fetch them again.
//!
//! Nothing is refreshed in the background: a Lambda environment sleeps between requests, and a timer
//! sleeps with it. The request that finds the keys too old fetches them, the others wait for it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration as StdDuration;

use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};
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
use crate::base::outbound::{self, Deadline, SendError};
use crate::base::strict_json::{self, StrictJsonError};
use crate::telemetry;

/// Bounds on how long fetched keys count as fresh, whatever lifetime the issuer states. The upper bound limits how
/// long Flexgate trusts a key that the issuer withdrew; `MAX_STALE` adds to it while the issuer cannot be reached.
const MIN_FRESH: Duration = Duration::minutes(5);
const MAX_FRESH: Duration = Duration::hours(24);

/// How long stale keys still serve while the issuer cannot be reached.
const MAX_STALE: Duration = Duration::hours(24);

/// Tokens with an unknown key cause at most one fetch in this time, because anybody can make up key names.
const UNKNOWN_KEY_PAUSE: Duration = Duration::seconds(60);

/// After a failed fetch, Flexgate doesn't ask the issuer for this long. The pause is shorter while no keys are cached
/// and nobody can be let in.
const PAUSE_COLD: Duration = Duration::seconds(5);
const PAUSE_STALE: Duration = Duration::seconds(60);

/// The longest that one request waits for an issuer, metadata and keys together.
const FETCH_TIMEOUT: StdDuration = StdDuration::from_secs(4);

const MAX_DOCUMENT: usize = 256 * 1024;

/// The keys of one issuer.
pub(super) struct Keys {
    issuer: Box<str>,
    jwks_uri: Option<Url>,
    http: reqwest::Client,
    clock_rng: ClockRng,
    /// Read by every request, held for a moment.
    state: RwLock<State>,
    /// Held while fetching: one fetch at a time.
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

/// Why the keys could not be fetched. For the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer from the issuer")]
    Send(#[from] SendError),
    #[error("the request cannot be made")]
    Request(#[source] reqwest::Error),
    #[error("the issuer answered with status {0}")]
    Status(StatusCode),
    #[error("the document cannot be read")]
    Json(#[from] StrictJsonError),
    #[error("the metadata is another issuer's")]
    OtherIssuer,
    #[error("the metadata names no usable jwks_uri")]
    JwksUri,
    #[error("the document holds no usable key")]
    NoKeys,
}

impl Keys {
    pub(super) fn new(issuer: Box<str>, jwks_uri: Option<Url>, http: reqwest::Client, clock_rng: ClockRng) -> Self {
        Self { issuer, jwks_uri, http, clock_rng, state: RwLock::default(), fetching: Mutex::default() }
    }

    /// Fetches the keys as a request would and keeps nothing: whether it works, or why not.
    pub(super) async fn probe(&self, deadline: Deadline) -> Result<(), FetchError> {
        self.fetch(deadline.within(FETCH_TIMEOUT)).await.map(drop)
    }

    /// The key that a token names.
    pub(super) async fn find(
        &self,
        unverified_kid: Option<&str>,
        algorithm: Algorithm,
        deadline: Deadline,
    ) -> Result<Key, CallerError> {
        if let Some(settled) = self.settled(unverified_kid, algorithm) {
            return Ok(settled?);
        }
        let turn = timeout_at(deadline.instant(), self.fetching.lock()).await;
        if let Ok(_turn) = turn {
            // The previous lock holder may have fetched the missing key.
            if let Some(settled) = self.settled(unverified_kid, algorithm) {
                return Ok(settled?);
            }
            let fetched = self.refresh(deadline).await;
            let found = self.at_hand(unverified_kid, algorithm);
            if fetched && matches!(found, Err(CallerError::Invalid(TokenFault::KeyUnknown))) {
                // The set just fetched lacks the key, so the next unknown key must not cause another fetch.
                self.update(|state| state.unknown_key_at = Some(self.clock_rng.now()));
            }
            return found;
        }
        self.at_hand(unverified_kid, algorithm)
    }

    /// Fetches the keys unless they are there. What goes wrong is logged, and the first caller tries again:
    /// nobody asked this time, and it may have been in a hurry.
    pub(super) async fn prewarm(&self, deadline: Deadline) {
        if let Ok(_turn) = timeout_at(deadline.instant(), self.fetching.lock()).await
            && self.state().cached.is_none()
        {
            self.refresh(deadline).await;
            self.update(|state| state.failed_at = None);
        }
    }

    /// What fresh keys say, unless it is that a fetch might find the key.
    fn settled(&self, unverified_kid: Option<&str>, algorithm: Algorithm) -> Option<Result<Key, TokenFault>> {
        let cached = self.state().cached.filter(|cached| self.clock_rng.now() < cached.fresh_until)?;
        match cached.keys.find(unverified_kid, algorithm) {
            Err(TokenFault::KeyUnknown) => None,
            settled => Some(settled.cloned()),
        }
    }

    /// What the keys at hand say, be they stale.
    fn at_hand(&self, unverified_kid: Option<&str>, algorithm: Algorithm) -> Result<Key, CallerError> {
        match self.state().cached {
            Some(cached) if self.clock_rng.now() < cached.fresh_until + MAX_STALE => {
                Ok(cached.keys.find(unverified_kid, algorithm).cloned()?)
            }
            _ => Err(CallerError::Unavailable { retry_after: PAUSE_COLD.unsigned_abs() }),
        }
    }

    /// Fetches the keys, unless it is too soon to ask again. Returns whether the fetch succeeded.
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
            // Recorded before the fetch, so that a caller who hangs up cannot bypass the limit on fetches.
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

    /// Where the issuer's metadata says the keys are (OIDC Discovery §4).
    async fn discover(&self, deadline: Deadline) -> Result<Url, FetchError> {
        let well_known = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let well_known = web_address(&well_known).map_err(|_| FetchError::JwksUri)?;
        let issuer_is_loopback = is_loopback(&well_known);
        let (_, metadata) = self.get(well_known, deadline).await?;
        if metadata.get("issuer").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(FetchError::OtherIssuer);
        }
        metadata
            .get("jwks_uri")
            .and_then(|uri| web_address(uri.as_str()?).ok())
            // An issuer elsewhere has no business sending us to our own machine.
            .filter(|uri| issuer_is_loopback || !is_loopback(uri))
            .ok_or(FetchError::JwksUri)
    }

    async fn get(&self, uri: Url, deadline: Deadline) -> Result<(HeaderMap, Value), FetchError> {
        let request = self.http.get(uri).header(ACCEPT, "application/json").build().map_err(FetchError::Request)?;
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

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1); zero if there is none, or the answer is not to be kept.
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
