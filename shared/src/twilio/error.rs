//! What can go wrong with Twilio, in the words a caller must tell apart.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::base::outbound::{Answer, SendError};
use crate::secrets::SecretError;

/// Twilio's description of a refusal: numbers only. Its messages can hold names and stay behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Twilio's error code, explained at `twilio.com/docs/errors/{code}`.
    pub code: Option<u32>,
    /// Twilio's identifier of the request, for its support.
    pub request_id: Option<String>,
    /// How long Twilio asks to wait.
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

/// Why Twilio did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TwilioError {
    /// There is no such thing (404, 20404).
    #[error("Twilio does not know it ({0})")]
    NotFound(ApiError),
    /// It refused the request itself (another 4xx). For a code or a refresh token: it is not good.
    #[error("Twilio refused the request ({0})")]
    Refused(ApiError),
    /// It does not take our credential, nor any that a rotation holds ready.
    #[error("Twilio does not accept the configured credential ({0})")]
    CredentialRejected(ApiError),
    /// The credential is good but may not do this (a restricted API key: 8001).
    #[error("the configured Twilio credential lacks the permission ({0})")]
    PermissionMissing(ApiError),
    /// It is overloaded or limits us, and stayed so (429).
    #[error("Twilio limits the rate ({0})")]
    Busy(ApiError),
    /// It is failing, and stayed so (5xx).
    #[error("Twilio is failing ({0})")]
    Failing(ApiError),
    /// It cannot be reached.
    #[error("Twilio cannot be reached")]
    Unreachable(#[source] SendError),
    /// The connection broke after the request was sent: it may or may not have been done.
    #[error("Twilio's answer was lost")]
    Lost(#[source] SendError),
    /// It did not answer in time: it may or may not have been done.
    #[error("Twilio did not answer in time")]
    Timeout,
    /// Its answer is not what it should be.
    #[error("Twilio's answer is unusable: {0}")]
    Malformed(&'static str),
    /// It answered about another account or instance than ours.
    #[error("Twilio's answer belongs to another account or instance")]
    Foreign,
    /// It knows several users of one username.
    #[error("Twilio knows several users of that username")]
    Ambiguous,
    /// Our credential cannot be read.
    #[error("the Twilio credential cannot be read")]
    Secret(#[from] SecretError),
}

impl TwilioError {
    /// How long the caller should wait before asking again, where waiting helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(error) | Self::Failing(error) => Some(error.retry_after.unwrap_or(Duration::from_secs(5))),
            // A rotation settles within minutes, a network within seconds.
            Self::CredentialRejected(_) | Self::Secret(_) => Some(Duration::from_secs(30)),
            Self::Unreachable(_) | Self::Lost(_) | Self::Timeout => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}

/// Both shapes Twilio's errors come in: its own (`code`, `message`, `status`) and RFC 9457
/// (`code`, `title`, `status`).
#[derive(Deserialize)]
struct ErrorBody {
    code: Option<u32>,
}

/// Reads a refusal. Anything that is not one of Twilio's shapes still has its status.
pub(super) fn api_error(answer: &Answer) -> ApiError {
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = header("twilio-request-id")
        .filter(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric()))
        .map(str::to_owned);
    ApiError {
        status: answer.status,
        code: serde_json::from_slice::<ErrorBody>(&answer.body).ok().and_then(|body| body.code),
        request_id,
        retry_after: header("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
    }
}

/// What a refusal means.
pub(super) fn refusal(error: ApiError) -> TwilioError {
    match (error.status.as_u16(), error.code) {
        (_, Some(8001)) => TwilioError::PermissionMissing(error),
        (404, _) => TwilioError::NotFound(error),
        (429, _) => TwilioError::Busy(error),
        // 45773 is an internal error, 45780 a clash of two writers: both pass.
        (500.., _) | (_, Some(45773 | 45780)) => TwilioError::Failing(error),
        _ => TwilioError::Refused(error),
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
