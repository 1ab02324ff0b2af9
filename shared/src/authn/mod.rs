//! Verifies who is calling: turns a bearer token (a JWT) into a verified [`Caller`].
//!
//! The invariant of this module: [`Verifier`] returns a [`Caller`] only if a configured issuer signed the token, if the
//! token is for one of Flexgate's audiences, and if it is valid now. [`LEEWAY`] allows for differences between clocks.
//!
//! The verification key comes from the issuer's published key set. Flexgate caches a key set for up to 24 hours. If the
//! issuer then cannot be reached, Flexgate uses the old key set for up to 24 hours more. So a key that the issuer has
//! withdrawn can stay trusted for 24 hours, or for 48 hours if the issuer cannot be reached.
//!
//! The rules follow RFC 8725 and are implemented here. From the crate `jsonwebtoken`, Flexgate uses only the types for
//! keys and algorithms. The crate *ring* checks the signatures. Everything that is read from a token before its
//! signature is checked has a name that starts with `unverified_`.
//!
//! The response to a refused token does not say which rule the token breaks. Only the log does, with a [`TokenFault`],
//! which contains no value from the token.

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

pub use claims::{LEEWAY, RELIED_UPON_CLAIMS};
pub use fault::{CallerError, MAX_TOKEN_BYTES, Part, TokenFault};
pub use mistakes::SettingsFault;
pub use preset::Preset;
pub use settings::{CallerSettings, ExternalIdError, Issuer, IssuerSettings, issuers};
pub use token::{RELIED_UPON_PARAMETERS, TokenType};

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::Deadline;
use crate::domain::Caller;
use jwks::Keys;
use token::UnverifiedToken;

/// Verifies callers. A verifier caches the issuers' keys, so a process should have only one verifier.
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
    /// Creates a verifier that trusts only `issuers`. If the list is empty, the verifier trusts nobody. It fetches no
    /// keys yet.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a client is a handle, and this keeps one per issuer")]
    pub fn new(issuers: Vec<Issuer>, http: reqwest::Client, clock_rng: ClockRng) -> Self {
        let with_keys = |issuer: Issuer| {
            let keys = Keys::new(issuer.name.clone(), issuer.jwks_uri.clone(), http.clone(), clock_rng.clone());
            (issuer, Arc::new(keys))
        };
        Self { issuers: issuers.into_iter().map(with_keys).collect(), clock_rng }
    }

    /// Fetches the keys of all issuers concurrently, so that the first caller does not have to wait. If the fetch for
    /// an issuer fails, the first caller with a token of that issuer causes another fetch.
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
        if self.issuers.is_empty() {
            return Err(CallerError::NotConfigured);
        }
        let token = UnverifiedToken::parse(unverified_token)?;
        // Compare the issuers' names byte for byte. If Flexgate normalised them first, two different issuers could look
        // the same.
        let unverified_issuer = token.unverified_issuer()?;
        let (issuer, keys) = self
            .issuers
            .iter()
            .find(|(issuer, _)| issuer.spellings().any(|name| name == unverified_issuer))
            .ok_or(TokenFault::IssuerUnknown)?;
        let (kid, algorithm) = (token.unverified_kid.as_deref(), token.algorithm);
        let found = keys.find(kid, algorithm, deadline).await?;
        if let Err(fault) = token.check_signature(&found.key) {
            let newer = keys.find_newer(&found, kid, algorithm, deadline).await.ok_or(fault)?;
            token.check_signature(&newer)?;
        }
        let token_type = token.token_type;
        Ok(claims::judge(issuer, token_type, &token.into_unverified_claims(), self.clock_rng.now())?)
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
