//! The reasons for refusing a caller.

use std::time::Duration;

use crate::base::strict_json::StrictJsonError;

/// The maximum size of a token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// Why Flexgate refuses a caller. The log contains the reason, but the HTTP response does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// 501: the settings contain no issuer.
    #[error("no issuer is configured")]
    NotConfigured,
    /// 401: the request does not have exactly one `Authorization` header, or its scheme is not `Bearer`.
    #[error("the request does not carry exactly one Authorization header with a Bearer token")]
    Missing,
    /// 413: the token is larger than [`MAX_TOKEN_BYTES`].
    #[error("the token is larger than {} bytes", MAX_TOKEN_BYTES)]
    TooLarge,
    /// 401, `invalid_token`: the token breaks a rule.
    #[error("the token is refused")]
    Invalid(#[source] TokenFault),
    /// 503: Flexgate cannot fetch the issuer's keys, or must not fetch them again yet.
    #[error("the issuer's keys are not available")]
    Unavailable {
        /// How long the caller should wait before another attempt.
        retry_after: Duration,
    },
}

impl From<TokenFault> for CallerError {
    fn from(fault: TokenFault) -> Self {
        Self::Invalid(fault)
    }
}

/// The rule that a token breaks. The error contains no values of claims, so Flexgate can log it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The token does not consist of three non-empty segments.
    #[error("the token does not consist of three segments")]
    Shape,
    /// A segment is not canonical base64url without padding.
    #[error("the {0} is not canonical base64url")]
    Encoding(Part),
    /// The header or the claims are not valid JSON, have a duplicate member, or are nested too deeply.
    #[error("the {part} segment is {error}")]
    Json {
        /// The segment with the invalid JSON.
        part: Part,
        /// The mistake in the JSON.
        error: StrictJsonError,
    },
    /// The header or the claims are not a JSON object.
    #[error("the {0} is not an object")]
    NotAnObject(Part),
    /// A header parameter has the wrong type, or a required one is missing.
    #[error("the header's {0} is missing or malformed")]
    Header(&'static str),
    /// The header's `alg` is not an allowed algorithm. `none` and all HMAC algorithms are not allowed.
    #[error("the header's alg is not allowed")]
    Algorithm,
    /// The header requires an extension (`crit`).
    #[error("the header demands an extension in crit")]
    Critical,
    /// The header's `typ` is unknown, or is not allowed by the issuer's settings.
    #[error("the header's typ is not accepted")]
    Type,
    /// `iss` is missing or not a string.
    #[error("the claim iss is missing or malformed")]
    IssuerMissing,
    /// `iss` is not a configured issuer.
    #[error("the claim iss names no trusted issuer")]
    IssuerUnknown,
    /// The header contains no `kid`, and the issuer has several keys for the algorithm.
    #[error("the header names no key in kid, and several keys fit")]
    KeyMissing,
    /// The issuer has no usable key with the header's `kid`.
    #[error("the issuer has no key of the name in the header's kid")]
    KeyUnknown,
    /// The issuer's key is for an algorithm other than the header's `alg`.
    #[error("the issuer's key is for another algorithm than the header's alg")]
    KeyAlgorithm,
    /// The signature does not match the key.
    #[error("the signature does not verify")]
    Signature,
    /// A claim is missing.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has the wrong type or an invalid value.
    #[error("the claim {0} is malformed")]
    Malformed(&'static str),
    /// A claim that is named in the issuer's settings has the wrong type.
    #[error("the claim {claim}, which the setting {setting} names, is malformed")]
    Setting {
        /// The setting that names the claim.
        setting: &'static str,
        /// The claim's name.
        claim: Box<str>,
    },
    /// A security event token contains `exp`. RFC 8417 §2.2 advises against that claim, and the Shared Signals
    /// Framework forbids it.
    #[error("the claim {0} is not allowed in this token")]
    Forbidden(&'static str),
    /// The time in `exp` passed at least [`LEEWAY`](super::LEEWAY) ago.
    #[error("the claim exp has passed")]
    Expired,
    /// The time in `nbf` or `iat` is more than [`LEEWAY`](super::LEEWAY) in the future.
    #[error("the claim {0} lies in the future")]
    Early(&'static str),
    /// The token is for another audience. The audience is in the claim `aud`, or for Cognito in `client_id`.
    #[error("the claim {0} names another audience")]
    Audience(&'static str),
    /// The token is an ID token, but the settings allow only access tokens.
    #[error("an ID token is not accepted (its claims tell)")]
    IdToken,
    /// The token is a logout token or another security event (RFC 8417).
    #[error("the claim events marks a security event, which is not accepted")]
    SecurityEvent,
    /// The token is bound to a key (`cnf`; RFC 9449, RFC 8705). Flexgate cannot check that the sender has this key.
    #[error("the claim cnf binds the token to a key")]
    Bound,
    /// The issuer left out a claim because the token would have become too large (Entra does this for a person in many
    /// groups). So Flexgate does not know the person's groups.
    #[error("the claim {0} is left out of the token")]
    LeftOut(Box<str>),
    /// Entra: `tid` is not the configured tenant.
    #[error("the claim tid names another tenant")]
    Tenant,
    /// Google: `hd` is not one of the configured domains.
    #[error("the claim hd names no domain that is accepted")]
    HostedDomain,
    /// Google: the e-mail address is not verified.
    #[error("the claim email_verified does not say that the e-mail address is verified")]
    EmailUnverified,
}

/// A segment of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims",
            Self::Signature => "signature",
        })
    }
}
