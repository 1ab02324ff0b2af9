//! Converts each refusal of a request to a SCIM error body (RFC 7644 §3.12).

use axum::response::{IntoResponse, Response};
use flexgate::users::ProvisioningError;
use flexgate::web::{Kind, LoggedProblem, Problem, kinds};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::scim::Refusal;
use crate::scim::protocol::ProtocolError;

/// A problem that becomes a SCIM error body.
#[derive(Debug, Clone)]
pub(crate) struct Failure(pub(crate) Problem);

impl Failure {
    pub(super) fn unproven() -> Self {
        let detail =
            "Send one Authorization header with Bearer and a Flexgate SCIM token. Never put it in the address.";
        Self(Problem::new(kinds::TOKEN_INVALID, detail))
    }

    /// Returns the failure for a secret that contains no token. The caller gets the same answer as for a wrong token.
    /// Only the log contains the reason.
    pub(super) fn no_token_is_valid(secret_id: &str) -> Self {
        Self(Self::unproven().0.noting(format_args!("the secret {secret_id} contains no token")))
    }

    pub(super) fn unsupported() -> Self {
        Self(Problem::new(kinds::SCIM_UNSUPPORTED, "Flexgate does not support this. See ServiceProviderConfig."))
    }

    pub(super) fn unknown() -> Self {
        Self(Problem::new(kinds::SCIM_UNKNOWN, Refusal::Unknown.to_string()))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self(Problem::new(kinds::METHOD_NOT_ALLOWED, "This resource does not support this method."))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// Converts each refusal to a problem.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::Partly(rest) = refusal {
            let rest = Self::from(*rest).0;
            let detail = format!("The user was deactivated. The rest of the request was refused: {}", rest.detail());
            return Self(rest.with_detail(detail));
        }
        let kind: &'static Kind = match &refusal {
            Refusal::Protocol(error) => of_protocol(error),
            Refusal::Uniqueness(_) => kinds::SCIM_UNIQUENESS,
            Refusal::TooMany => kinds::SCIM_TOO_MANY,
            Refusal::Unknown => kinds::SCIM_UNKNOWN,
            Refusal::Stale => kinds::SCIM_STALE,
            Refusal::RoleForbidden(_) => kinds::ROLE_FORBIDDEN,
            Refusal::LastAdmin => kinds::SCIM_LAST_ADMIN,
            Refusal::InactiveBy(_) => kinds::USER_INACTIVE,
            Refusal::NoRole => kinds::SCIM_NO_ROLE,
            Refusal::Blocked(_) => kinds::TWILIO_REFUSED,
            Refusal::StaysDeactivated => kinds::UPSTREAM_INVALID,
            Refusal::Busy(wait) => {
                return Self(Problem::new(kinds::UNAVAILABLE, refusal.to_string()).retry_after(Some(*wait)));
            }
            Refusal::Partly(_) | Refusal::Twilio(_) | Refusal::Store(_) | Refusal::Secret(_) => {
                return dependency(refusal);
            }
        };
        Self(Problem::new(kind, refusal.to_string()))
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Refusal::from(error).into()
    }
}

fn of_protocol(error: &ProtocolError) -> &'static Kind {
    match error {
        ProtocolError::InvalidSyntax(_) => kinds::SCIM_INVALID_SYNTAX,
        ProtocolError::InvalidValue(_) => kinds::SCIM_INVALID_VALUE,
        ProtocolError::InvalidPath(_) => kinds::SCIM_INVALID_PATH,
        ProtocolError::InvalidFilter(_) => kinds::SCIM_INVALID_FILTER,
        ProtocolError::NoTarget(_) => kinds::SCIM_NO_TARGET,
        ProtocolError::Mutability(_) => kinds::SCIM_MUTABILITY,
        ProtocolError::InvalidCursor => kinds::SCIM_INVALID_CURSOR,
        ProtocolError::ExpiredCursor => kinds::SCIM_EXPIRED_CURSOR,
    }
}

fn dependency(refusal: Refusal) -> Failure {
    Failure(match refusal {
        Refusal::Twilio(error) => crate::problem::of(&ProvisioningError::Twilio(error)),
        Refusal::Store(error) => Problem::from(&error),
        Refusal::Secret(error) => Problem::from(&error),
        other => Problem::new(kinds::INTERNAL, "Give the request's id to your administrator.").because(&other),
    })
}

/// Returns the `scimType` of a problem, if it has one (RFC 7644 table 9, RFC 9865 §2.1).
pub(super) fn scim_type(kind: &Kind) -> Option<&'static str> {
    [
        (kinds::SCIM_INVALID_SYNTAX, "invalidSyntax"),
        (kinds::BODY_MALFORMED, "invalidSyntax"),
        (kinds::SCIM_INVALID_VALUE, "invalidValue"),
        (kinds::QUERY_INVALID, "invalidValue"),
        (kinds::SCIM_INVALID_PATH, "invalidPath"),
        (kinds::SCIM_INVALID_FILTER, "invalidFilter"),
        (kinds::SCIM_NO_TARGET, "noTarget"),
        (kinds::SCIM_MUTABILITY, "mutability"),
        (kinds::SCIM_TOO_MANY, "tooMany"),
        (kinds::SCIM_INVALID_CURSOR, "invalidCursor"),
        (kinds::SCIM_EXPIRED_CURSOR, "expiredCursor"),
        (kinds::SCIM_UNIQUENESS, "uniqueness"),
        (kinds::TWILIO_REFUSED, "invalidValue"),
    ]
    .into_iter()
    .find(|(of, _)| *of == kind)
    .map(|(_, scim_type)| scim_type)
}

/// Returns the HTTP status of a problem. RFC 7644 has no status 422, so refused user data gets 400.
pub(super) fn status(kind: &Kind) -> StatusCode {
    if kind == kinds::TWILIO_REFUSED { StatusCode::BAD_REQUEST } else { kind.status }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let kind = self.0.kind();
        let status = status(kind);
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": status.as_u16().to_string(),
            "detail": self.0.detail(),
        });
        if let (Some(body), Some(scim_type)) = (body.as_object_mut(), scim_type(kind)) {
            body.insert("scimType".to_owned(), scim_type.into());
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        if kind == kinds::TOKEN_INVALID {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.wait_seconds() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(LoggedProblem(self.0));
        response
    }
}
