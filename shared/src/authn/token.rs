//! Parses a token before its signature is checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::fault::{CallerError, MAX_TOKEN_BYTES, Part, TokenFault};
use super::keys::{Key, allowed_algorithm};
use crate::base::strict_json;

/// The header parameters that Flexgate uses. Flexgate ignores keys in the token (`jwk`, `jku`, `x5c`, `x5u`), because
/// only the issuer's published keys are trusted.
pub const RELIED_UPON_PARAMETERS: [&str; 4] = ["alg", "crit", "kid", "typ"];

/// The type of a token, from its header's `typ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum TokenType {
    /// `at+jwt`: an access token (RFC 9068).
    #[serde(rename = "at+jwt")]
    AccessToken,
    /// `JWT`: any JWT.
    #[serde(rename = "jwt")]
    Jwt,
    /// There is no `typ`.
    #[serde(rename = "absent")]
    Absent,
}

/// A token with an unchecked signature. Its content is not trustworthy.
pub(super) struct UnverifiedToken<'t, T = TokenType> {
    pub(super) algorithm: Algorithm,
    pub(super) unverified_kid: Option<Box<str>>,
    pub(super) token_type: T,
    unverified_claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> UnverifiedToken<'t> {
    pub(super) fn parse(unverified_token: &'t str) -> Result<Self, CallerError> {
        Self::parse_as(unverified_token, token_type)
    }
}

impl<'t> UnverifiedToken<'t, ()> {
    /// Parses a token whose header must have this `typ`.
    pub(super) fn of_type(unverified_token: &'t str, typ: &str) -> Result<Self, CallerError> {
        let is_right = |header: &Map<String, Value>| match normalised_type(header)? {
            Some(named) if named == typ => Ok(()),
            _ => Err(TokenFault::Type),
        };
        Self::parse_as(unverified_token, is_right)
    }
}

impl<'t, T> UnverifiedToken<'t, T> {
    fn parse_as(
        unverified_token: &'t str,
        read_type: impl Fn(&Map<String, Value>) -> Result<T, TokenFault>,
    ) -> Result<Self, CallerError> {
        if unverified_token.len() > MAX_TOKEN_BYTES {
            return Err(CallerError::TooLarge);
        }
        Ok(Self::take_apart(unverified_token, read_type)?)
    }

    fn take_apart(
        unverified_token: &'t str,
        read_type: impl Fn(&Map<String, Value>) -> Result<T, TokenFault>,
    ) -> Result<Self, TokenFault> {
        let (signed, signature) = unverified_token.rsplit_once('.').ok_or(TokenFault::Shape)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Shape)?;
        let segments = [header, claims, signature];
        if segments.iter().any(|segment| segment.is_empty() || segment.contains('.')) {
            return Err(TokenFault::Shape);
        }
        let signature = decode(signature, Part::Signature)?;
        let header = object(header, Part::Header)?;
        if header.contains_key("crit") {
            return Err(TokenFault::Critical);
        }
        Ok(Self {
            algorithm: header
                .get("alg")
                .and_then(Value::as_str)
                .ok_or(TokenFault::Header("alg"))
                .and_then(|name| allowed_algorithm(name).ok_or(TokenFault::Algorithm))?,
            unverified_kid: match header.get("kid") {
                None | Some(Value::Null) => None,
                Some(Value::String(kid)) => Some(kid.as_str().into()),
                Some(_) => return Err(TokenFault::Header("kid")),
            },
            token_type: read_type(&header)?,
            unverified_claims: present(object(claims, Part::Claims)?),
            signed,
            signature,
        })
    }

    pub(super) fn unverified_issuer(&self) -> Result<&str, TokenFault> {
        self.unverified_claims.get("iss").and_then(Value::as_str).ok_or(TokenFault::IssuerMissing)
    }

    /// Checks that `key` signed the token.
    pub(super) fn check_signature(&self, key: &Key) -> Result<(), TokenFault> {
        if key.algorithm() != self.algorithm {
            return Err(TokenFault::KeyAlgorithm);
        }
        if key.signed(self.signed.as_bytes(), &self.signature) { Ok(()) } else { Err(TokenFault::Signature) }
    }

    /// Returns the claims, which are not trustworthy before [`Self::check_signature`].
    pub(super) fn into_unverified_claims(self) -> Map<String, Value> {
        self.unverified_claims
    }
}

/// Removes claims with the value null. Some issuers write null instead of omitting a claim.
fn present(mut claims: Map<String, Value>) -> Map<String, Value> {
    claims.retain(|_, value| !value.is_null());
    claims
}

fn token_type(header: &Map<String, Value>) -> Result<TokenType, TokenFault> {
    match normalised_type(header)?.as_deref() {
        None => Ok(TokenType::Absent),
        Some("at+jwt") => Ok(TokenType::AccessToken),
        Some("jwt") => Ok(TokenType::Jwt),
        Some(_) => Err(TokenFault::Type),
    }
}

/// Reads the token's type from `typ`, ignoring case and the prefix `application/` (RFC 7515 §4.1.9).
fn normalised_type(header: &Map<String, Value>) -> Result<Option<String>, TokenFault> {
    match header.get("typ") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            Ok(Some(typ.strip_prefix("application/").unwrap_or(&typ).to_owned()))
        }
        Some(_) => Err(TokenFault::Header("typ")),
    }
}

/// Decodes base64url. Refuses padding, white space and non-zero trailing bits, so that each signature has only one
/// encoding.
fn decode(segment: &str, part: Part) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| TokenFault::Encoding(part))
}

fn object(segment: &str, part: Part) -> Result<Map<String, Value>, TokenFault> {
    match strict_json::parse(&decode(segment, part)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(TokenFault::NotAnObject(part)),
        Err(error) => Err(TokenFault::Json { part, error }),
    }
}
