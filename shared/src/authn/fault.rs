//! The reasons why Flexgate refuses a caller.

use std::time::Duration;

use crate::base::strict_json::StrictJsonError;

/// The largest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// Why there is no [`Caller`](crate::domain::Caller).
///
/// The answer tells the caller no more than the status: which rule failed is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// There is not exactly one `Authorization` header, or its scheme is not `Bearer`. 401.
    #[error("the request does not carry exactly one Authorization header with a Bearer token")]
    Missing,
    /// The token is larger than [`MAX_TOKEN_BYTES`]. 413.
    #[error("the token is larger than {} bytes", MAX_TOKEN_BYTES)]
    TooLarge,
    /// The token breaks a rule. 401, `invalid_token`.
    #[error("the token is refused")]
    Invalid(#[source] TokenFault),
    /// The issuer's keys are unavailable, so the token cannot be checked. 503.
    #[error("the issuer's keys cannot be had")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl From<TokenFault> for CallerError {
    fn from(fault: TokenFault) -> Self {
        Self::Invalid(fault)
    }
}

/// The rule that a token breaks. Names claims, never their values: fit for the audit line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three non-empty segments.
    #[error("the token does not consist of three segments")]
    Shape,
    /// A segment is not canonical base64url without padding.
    #[error("the {0} is not canonical base64url")]
    Encoding(Part),
    /// The header or the claims are not JSON, or say one thing twice.
    #[error("the {part} segment is {error}")]
    Json {
        /// Which.
        part: Part,
        /// Why.
        error: StrictJsonError,
    },
    /// The header or the claims are not a JSON object.
    #[error("the {0} is not an object")]
    NotAnObject(Part),
    /// A header parameter has the wrong type, or one that must be there is missing.
    #[error("the header's {0} is missing or malformed")]
    Header(&'static str),
    /// The header's `alg` is none of those allowed (`none` and every HMAC among them).
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// The header demands an extension (`crit`).
    #[error("the header demands an extension")]
    Critical,
    /// The header contains a key, or says where to get one.
    #[error("the header brings its own key in {0}")]
    EmbeddedKey(&'static str),
    /// The header's `typ` is none of those this issuer may use.
    #[error("the token is of a type that is not accepted")]
    Type,
    /// `iss` is missing or not a string.
    #[error("iss is missing or malformed")]
    IssuerMissing,
    /// `iss` is none of the configured issuers.
    #[error("the issuer is not trusted")]
    IssuerUnknown,
    /// The header names no key, and the issuer has more than one or none.
    #[error("the header names no key")]
    KeyMissing,
    /// The issuer has no usable key of that name.
    #[error("the issuer has no such key")]
    KeyUnknown,
    /// The key is for another algorithm than the header's `alg`.
    #[error("the key is for another algorithm")]
    KeyAlgorithm,
    /// The signature is not the key's.
    #[error("the signature does not verify")]
    Signature,
    /// A claim is missing.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has the wrong type or a senseless value.
    #[error("the claim {0} is malformed")]
    Malformed(&'static str),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` has not come yet.
    #[error("{0} lies in the future")]
    Early(&'static str),
    /// The token is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// An ID token, where an access token is required.
    #[error("an ID token is not accepted")]
    IdToken,
    /// A logout token or another security event (RFC 8417).
    #[error("a security event is not accepted")]
    SecurityEvent,
    /// Bound to a key (`cnf`) whose possession a bearer does not prove (RFC 9449, RFC 8705).
    #[error("the token is bound to a key")]
    Bound,
    /// The token omits claims that must be fetched elsewhere (Entra's groups overage). That doesn't mean "no groups".
    #[error("claims are left out of the token")]
    Overage,
    /// Entra: `tid` is not the tenant configured.
    #[error("the token is of another tenant")]
    Tenant,
    /// Google: `hd` is none of the configured domains.
    #[error("the account is of another domain")]
    HostedDomain,
    /// Google: the e-mail address is not verified.
    #[error("the account's e-mail address is not verified")]
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
