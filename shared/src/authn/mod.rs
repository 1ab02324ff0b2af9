//! Verifies a bearer token (a JWT), and returns the [`Caller`].
//!
//! [`Verifier`] returns a [`Caller`] only if a configured issuer signed the token, if the audience is Flexgate, and if
//! the token is valid now. [`LEEWAY`] is the tolerated difference between clocks.
//!
//! Flexgate caches the issuer's keys for up to 24 hours, and for up to 24 hours more while the issuer is unreachable.
//! If the cached keys do not verify a token, Flexgate fetches the keys again, but at most once a minute. If the last
//! fetch is too recent, Flexgate refuses the caller. A signal from an identity system is only postponed in this case:
//! see [`Transmitter::verify`].
//!
//! The rules follow RFC 8725. A variable whose value is not verified has a name that begins with `unverified_`.

mod claims;
mod fault;
mod jwks;
mod keys;
mod mistakes;
mod preset;
mod problem;
mod settings;
mod token;
mod transmitter;

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::task::JoinSet;

pub use claims::{LEEWAY, RELIED_UPON_CLAIMS};
pub use fault::{CallerError, MAX_TOKEN_BYTES, Part, TokenFault};
pub use mistakes::SettingsFault;
pub use preset::Preset;
pub use settings::{CallerSettings, ExternalIdError, Issuer, IssuerSettings, issuers};
pub use token::{RELIED_UPON_PARAMETERS, TokenType};
pub use transmitter::{SignalClaims, SignalToken, Transmitter};

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{Deadline, HttpClient};
use crate::domain::Caller;
use jwks::Keys;
use token::UnverifiedToken;

/// Verifies callers. All requests of a process should share one verifier, because it caches the issuers' keys.
pub struct Verifier {
    issuers: Vec<(Issuer, Arc<Keys>)>,
    clock_rng: ClockRng,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(|(issuer, _)| issuer.name())).finish()
    }
}

impl Verifier {
    /// Creates a verifier that trusts only `issuers`. Fetches no keys yet.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a client is a handle, and this keeps one per issuer")]
    pub fn new(issuers: Vec<Issuer>, http: HttpClient, clock_rng: ClockRng) -> Self {
        let with_keys = |issuer: Issuer| {
            let keys = Keys::new(issuer.name.clone(), issuer.jwks_uri.clone(), http.clone(), clock_rng.clone());
            (issuer, Arc::new(keys))
        };
        Self { issuers: issuers.into_iter().map(with_keys).collect(), clock_rng }
    }

    /// Fetches the keys of all issuers concurrently, so that the first caller need not wait.
    pub async fn prewarm(&self, deadline: Deadline) {
        let mut fetches = JoinSet::new();
        for (_, keys) in &self.issuers {
            let keys = Arc::clone(keys);
            fetches.spawn(async move { keys.prewarm(deadline).await });
        }
        fetches.join_all().await;
    }

    /// Fetches each issuer's keys. Returns each issuer's name and, if its keys could not be fetched, the reason.
    pub async fn probe(&self, deadline: Deadline) -> Vec<(&str, Result<(), String>)> {
        let mut found = Vec::new();
        for (issuer, keys) in &self.issuers {
            found.push((issuer.name(), keys.probe(deadline).await.map_err(|error| error.to_string())));
        }
        found
    }

    /// Verifies a request's bearer token (RFC 6750 §2.1), and returns the caller.
    pub async fn verify(&self, headers: &HeaderMap, deadline: Deadline) -> Result<Caller, CallerError> {
        if self.issuers.is_empty() {
            return Err(CallerError::NotConfigured);
        }
        self.verify_token(bearer(headers).ok_or(CallerError::Missing)?, deadline).await
    }

    /// Verifies a token and returns the caller.
    pub async fn verify_token(&self, unverified_token: &str, deadline: Deadline) -> Result<Caller, CallerError> {
        if self.issuers.is_empty() {
            return Err(CallerError::NotConfigured);
        }
        let token = UnverifiedToken::parse(unverified_token)?;
        // Compare the issuers' names byte for byte, because normalisation could make the names of two issuers equal.
        let unverified_issuer = token.unverified_issuer()?;
        let (issuer, keys) = self
            .issuers
            .iter()
            .find(|(issuer, _)| issuer.spellings().any(|name| name == unverified_issuer))
            .ok_or(TokenFault::IssuerUnknown)?;
        keys.verify(&token, deadline).await?;
        let token_type = token.token_type;
        Ok(claims::judge(issuer, token_type, &token.into_unverified_claims(), self.clock_rng.now())?)
    }
}

/// Returns the request's bearer token (RFC 6750 §2.1). Returns `None` unless there is exactly one `Authorization`
/// header, with the scheme `Bearer`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, unverified_token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| unverified_token.trim_start_matches(' '))
}
