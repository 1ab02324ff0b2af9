//! Verifies the tokens with which an identity system sends signals: security event tokens (RFC 8417), and the tokens of
//! Global Token Revocation, which Okta calls Universal Logout.
//!
//! The rules for keys and algorithms are the same as for callers' tokens. But the required `typ` is different. So
//! Flexgate never accepts a signal's token as a caller's token, or a caller's token as a signal's.

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::claims::{LEEWAY, date, for_us, in_time};
use super::fault::{CallerError, TokenFault};
use super::jwks::{Keys, Metadata};
use super::preset::text;
use super::settings::web_address;
use super::token::UnverifiedToken;
use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{Deadline, HttpClient};

/// The kinds of token that a transmitter sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalToken {
    /// A security event token of the Shared Signals Framework. It does not expire.
    SecurityEvent,
    /// A token that authorises one request to end a person's sessions. It expires.
    Revocation,
}

impl SignalToken {
    /// The required `typ` in the token's header.
    fn typ(self) -> &'static str {
        match self {
            Self::SecurityEvent => "secevent+jwt",
            Self::Revocation => "global-token-revocation+jwt",
        }
    }

    fn metadata(self) -> Metadata {
        match self {
            Self::SecurityEvent => Metadata::SharedSignals,
            Self::Revocation => Metadata::OpenId,
        }
    }
}

/// A system that sends signals about people.
pub struct Transmitter {
    token: SignalToken,
    issuer: Box<str>,
    audience: Box<str>,
    keys: Keys,
    clock_rng: ClockRng,
}

impl fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmitter").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// The claims of a verified token.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalClaims {
    /// The token's id. The transmitter never uses the same id for another token.
    pub jti: Box<str>,
    /// When the transmitter made the token.
    pub issued_at: OffsetDateTime,
    /// When the token expires. `None` for a security event token.
    pub expires_at: Option<OffsetDateTime>,
    /// All claims. None of them is null.
    pub claims: Map<String, Value>,
}

impl Transmitter {
    /// Checks the URL of a server from which Flexgate will fetch documents. The error message continues a sentence that
    /// begins with the name of the setting.
    pub fn check_address(text: &str) -> Result<(), &'static str> {
        web_address(text).map(drop)
    }

    /// Makes a verifier for the tokens that `issuer` sends to `audience`. Fetches nothing yet. Without `jwks_uri`, the
    /// verifier later reads the URL of the keys from the issuer's metadata.
    #[must_use]
    pub fn new(
        token: SignalToken,
        issuer: &str,
        audience: &str,
        jwks_uri: Option<&str>,
        http: HttpClient,
        clock_rng: ClockRng,
    ) -> Self {
        let jwks_uri = jwks_uri.and_then(|uri| web_address(uri).ok());
        let keys = Keys::new(issuer.into(), jwks_uri, http, clock_rng.clone()).of_transmitter(token.metadata());
        Self { token, issuer: issuer.into(), audience: audience.into(), keys, clock_rng }
    }

    /// The `iss` of the transmitter's tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches the keys, so that the first token need not wait.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.keys.prewarm(deadline).await;
    }

    /// Verifies a token and returns its claims.
    ///
    /// A transmitter never sends a refused token again, so a wrong refusal would lose the signal. If the cached keys do
    /// not verify the token, Flexgate therefore refuses it only if it has fetched the keys since the token arrived.
    /// Otherwise, the error says that the keys are unavailable, and when Flexgate may fetch them again.
    pub async fn verify(&self, unverified_token: &str, deadline: Deadline) -> Result<SignalClaims, CallerError> {
        let token = UnverifiedToken::of_type(unverified_token, self.token.typ())?;
        if token.unverified_issuer()? != &*self.issuer {
            return Err(TokenFault::IssuerUnknown.into());
        }
        self.keys.verify(&token, deadline).await?;
        Ok(self.judge(token.into_unverified_claims())?)
    }

    /// Checks the claims of a token with a valid signature.
    fn judge(&self, claims: Map<String, Value>) -> Result<SignalClaims, TokenFault> {
        let now = self.clock_rng.now();
        for_us(&claims, "aud", &[self.audience.to_string()])?;
        let expires_at = match self.token {
            SignalToken::SecurityEvent if claims.contains_key("exp") => return Err(TokenFault::Forbidden("exp")),
            SignalToken::SecurityEvent => None,
            SignalToken::Revocation => Some(in_time(&claims, now)?),
        };
        let issued_at = date(&claims, "iat")?.ok_or(TokenFault::Missing("iat"))?;
        if issued_at > now + LEEWAY {
            return Err(TokenFault::Early("iat"));
        }
        let jti = text(&claims, "jti")?.ok_or(TokenFault::Missing("jti"))?;
        let jti = if jti.is_empty() { return Err(TokenFault::Malformed("jti")) } else { jti.into() };
        Ok(SignalClaims { jti, issued_at, expires_at, claims })
    }
}
