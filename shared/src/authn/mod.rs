//! Verifies who is calling: turns a bearer token (a JWT) into a verified [`Caller`].
//!
//! The invariant of this module: [`Verifier`] returns a [`Caller`] only for a token that a configured issuer signed,
//! that is for one of our audiences, and that is valid now. [`LEEWAY`] allows for differences between clocks.
//!
//! The verification key comes from the issuer's published key set. Flexgate caches a key set for up to 24 hours. If the
//! issuer then cannot be reached, Flexgate uses it for up to 24 hours more. A key that the issuer withdraws can stay
//! trusted for that long.
//!
//! The rules follow RFC 8725 and are implemented here. Flexgate uses only the key and algorithm types of
//! `jsonwebtoken`; *ring* checks the signatures. Text and claims that were read from a token before the signature check
//! have names that start with `unverified_`.
//!
//! The response to a refused token does not say which rule the token breaks. [`TokenFault`] says so in the log, and
//! contains no value from the token.

mod claims;
mod fault;
mod jwks;
mod keys;
mod mistakes;
mod preset;
mod problem;
mod settings;
mod token;

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::task::JoinSet;

pub use claims::LEEWAY;
pub use fault::{CallerError, MAX_TOKEN_BYTES, Part, TokenFault};
pub use mistakes::SettingsFault;
pub use preset::Preset;
pub use settings::{CallerSettings, Issuer, IssuerSettings, issuers};
pub use token::TokenType;

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::Deadline;
use crate::domain::Caller;
use jwks::Keys;
use token::UnverifiedToken;

/// Verifies callers. It caches the issuers' keys, so a process should have only one.
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
    /// Creates a verifier that trusts only `issuers`. It trusts nobody if there are none. It fetches no keys yet.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a client is a handle, and this keeps one per issuer")]
    pub fn new(issuers: Vec<Issuer>, http: reqwest::Client, clock_rng: ClockRng) -> Self {
        let with_keys = |issuer: Issuer| {
            let keys = Keys::new(issuer.name.clone(), issuer.jwks_uri.clone(), http.clone(), clock_rng.clone());
            (issuer, Arc::new(keys))
        };
        Self { issuers: issuers.into_iter().map(with_keys).collect(), clock_rng }
    }

    /// Fetches every issuer's keys concurrently, so that the first caller need not wait. If a fetch fails, the issuer's
    /// first caller triggers another one.
    pub async fn prewarm(&self, deadline: Deadline) {
        let mut fetches = JoinSet::new();
        for (_, keys) in &self.issuers {
            let keys = Arc::clone(keys);
            fetches.spawn(async move { keys.prewarm(deadline).await });
        }
        fetches.join_all().await;
    }

    /// Tries to fetch each issuer's keys. Returns each issuer's name, and the reason if its fetch failed.
    pub async fn probe(&self, deadline: Deadline) -> Vec<(&str, Result<(), String>)> {
        let mut found = Vec::new();
        for (issuer, keys) in &self.issuers {
            found.push((issuer.name(), keys.probe(deadline).await.map_err(|error| error.to_string())));
        }
        found
    }

    /// Verifies the bearer token of a request (RFC 6750 §2.1) and returns the caller. The request must have exactly one
    /// `Authorization` header.
    pub async fn verify(&self, headers: &HeaderMap, deadline: Deadline) -> Result<Caller, CallerError> {
        if self.issuers.is_empty() {
            return Err(CallerError::NotConfigured);
        }
        self.verify_token(bearer(headers).ok_or(CallerError::Missing)?, deadline).await
    }

    /// Verifies a token and returns the caller.
    pub async fn verify_token(&self, unverified_token: &str, deadline: Deadline) -> Result<Caller, CallerError> {
        let token = UnverifiedToken::parse(unverified_token)?;
        // Compare the names byte for byte. If Flexgate normalised them, it could confuse two issuers.
        let unverified_issuer = token.unverified_issuer()?;
        let (issuer, keys) = self
            .issuers
            .iter()
            .find(|(issuer, _)| issuer.spellings().any(|name| name == unverified_issuer))
            .ok_or(TokenFault::IssuerUnknown)?;
        let key = keys.find(token.unverified_kid.as_deref(), token.algorithm, deadline).await?;
        let token_type = token.token_type;
        let claims = token.verified_by(&key)?;
        Ok(claims::judge(issuer, token_type, &claims, self.clock_rng.now())?)
    }
}

/// Returns the bearer token of a request. Returns `None` if the request does not have exactly one `Authorization`
/// header, or if its scheme is not `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, unverified_token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| unverified_token.trim_start_matches(' '))
}
