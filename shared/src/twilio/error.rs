//! The errors of requests to Twilio. Failures that callers must handle differently have different variants.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::base::outbound::{Answer, SendError};
use crate::secrets::SecretError;

/// Twilio's refusal of a request. It omits Twilio's message, which can contain names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Twilio's error code. `twilio.com/docs/errors/{code}` explains it.
    pub code: Option<u32>,
    /// Twilio's id for the request. Twilio's support may ask for it.
    pub request_id: Option<String>,
    /// The wait that Twilio requests.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        if let Some(code) = self.code {
            write!(f, ", code {code}")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(f, ", request {request_id}")?;
        }
        Ok(())
    }
}

/// Why a request to Twilio failed.
#[derive(Debug, thiserror::Error)]
pub enum TwilioError {
    /// The resource does not exist (404, 20404).
    #[error("Twilio does not know it ({0})")]
    NotFound(ApiError),
    /// Twilio refused the request, and no other variant describes why. If the request was an exchange or a refresh, the
    /// code or the refresh token is invalid.
    #[error("Twilio refused the request ({0})")]
    Refused(ApiError),
    /// A proxy or a firewall, not Twilio, refused the request.
    #[error("a proxy or a firewall answered instead of Twilio ({0})")]
    Intercepted(ApiError),
    /// Twilio rejects the current credential and, during a rotation, the pending one too.
    #[error("Twilio does not accept the configured credential ({0})")]
    CredentialRejected(ApiError),
    /// The credential lacks a permission (code 8001: a restricted API key).
    #[error("the configured Twilio credential lacks the permission ({0})")]
    PermissionMissing(ApiError),
    /// Twilio answered 429 (too many requests), even after retries.
    #[error("Twilio limits the rate ({0})")]
    Busy(ApiError),
    /// Twilio failed temporarily (usually with status 5xx), even after retries.
    #[error("Twilio is failing ({0})")]
    Failing(ApiError),
    /// Twilio cannot be reached.
    #[error("Twilio cannot be reached")]
    Unreachable(#[source] SendError),
    /// The connection broke after Flexgate sent the request. Twilio may have processed the request.
    #[error("Twilio's answer was lost")]
    Lost(#[source] SendError),
    /// Twilio did not answer in time. Twilio may have processed the request.
    #[error("Twilio did not answer in time")]
    Timeout,
    /// Twilio's answer does not have the expected form.
    #[error("Twilio's answer is unusable: {0}")]
    Malformed(&'static str),
    /// Twilio's answer, or the credential, does not belong to the configured account and instance.
    #[error("Twilio's answer belongs to another account or instance")]
    Foreign,
    /// Twilio has several users with the same username.
    #[error("Twilio knows several users of that username")]
    Ambiguous,
    /// Flexgate cannot read its Twilio credential.
    #[error("the Twilio credential cannot be read")]
    Secret(#[from] SecretError),
}

impl TwilioError {
    /// How long the caller should wait before a retry. `None` if waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(error) | Self::Failing(error) => Some(error.retry_after.unwrap_or(Duration::from_secs(5))),
            // These problems usually last longer than a network failure, so the caller should wait longer.
            Self::CredentialRejected(_) | Self::Secret(_) | Self::Intercepted(_) => Some(Duration::from_secs(30)),
            Self::Unreachable(_) | Self::Lost(_) | Self::Timeout => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

/// Returns Twilio's error code if Twilio itself wrote the refusal. Returns `None` if a proxy or a firewall wrote it.
///
/// Twilio has two error formats: its own (`code`, `message`, `status`), and RFC 9457 (`code`, `title`, `status`). Both
/// have `code` and `status`. Twilio's codes have five digits, except 8001. In an error document from a proxy, `code` is
/// a shorter or longer number, such as an HTTP status, or it is text.
fn code_of_twilio(answer: &Answer) -> Option<u32> {
    let body: Map<String, Value> = serde_json::from_slice(&answer.body).ok()?;
    let code = match body.get("code")? {
        Value::String(digits) => digits.parse().ok()?,
        code => u32::try_from(code.as_u64()?).ok()?,
    };
    let status = body.get("status").and_then(Value::as_u64);
    let same_status = status.is_none_or(|status| status == u64::from(answer.status.as_u16()));
    Some(code).filter(|code| same_status && matches!(code, 8_001 | 10_000..=99_999))
}

/// Converts an answer with an error status to an error. Distinguishes a refusal by Twilio from a refusal by a proxy.
pub(super) fn refusal(answer: &Answer) -> TwilioError {
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = header("twilio-request-id")
        .filter(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
        .map(str::to_owned);
    let code = code_of_twilio(answer);
    let retry_after = header("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs);
    let error = ApiError { status: answer.status, code, request_id, retry_after };
    match (answer.status.as_u16(), code) {
        // These statuses are temporary, even if a proxy sends them.
        (429, _) => TwilioError::Busy(error),
        (408 | 500.., _) => TwilioError::Failing(error),
        (_, None) => TwilioError::Intercepted(error),
        (_, Some(8001)) => TwilioError::PermissionMissing(error),
        // 45773 is an internal error of Twilio, and 45780 a conflict between two writers. Both are temporary.
        (_, Some(45773 | NOT_PROCESSED)) => TwilioError::Failing(error),
        (404, _) => TwilioError::NotFound(error),
        _ => TwilioError::Refused(error),
    }
}

/// Twilio's code for a conflict between two writers. Twilio did not process the request.
const NOT_PROCESSED: u32 = 45780;

impl TwilioError {
    /// Whether it is certain that Twilio has not processed the request. If so, Flexgate can send the request again,
    /// even with a code that is valid only once.
    pub(super) fn was_not_processed(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy(_) => true,
            Self::Failing(error) => error.code == Some(NOT_PROCESSED),
            _ => false,
        }
    }
}

impl From<SendError> for TwilioError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Connect(_) => Self::Unreachable(error),
            SendError::Broken(_) => Self::Lost(error),
            SendError::Timeout => Self::Timeout,
            SendError::TooLarge { .. } => Self::Malformed("it is too large"),
        }
    }
}
