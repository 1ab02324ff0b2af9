//! Receives security event tokens by push (RFC 8935). A refusal has the form that this RFC specifies.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use flexgate::authn::{CallerError, TokenFault};
use flexgate::web::{Context, LoggedProblem, Problem, kinds, raw_body};
use http::StatusCode;
use serde_json::json;

use super::outcome::{Counts, MAX_DELIVERY, audit, log_delivery};
use crate::app::App;
use crate::signals::SignalSource;
use crate::signals::set::{self, Read};

/// A refusal, with the error code of RFC 8935 §2.4.
struct Refusal {
    code: &'static str,
    problem: Problem,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { code, problem } = self;
        let status = match problem.kind().status {
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({ "err": code, "description": problem.detail() });
        let mut response = (status, axum::Json(body)).into_response();
        response.extensions_mut().insert(LoggedProblem(problem));
        response
    }
}

pub(super) async fn receive(
    source: &SignalSource,
    app: &Arc<App>,
    context: &Context,
    request: Request,
) -> Result<Response, Problem> {
    match take(source, app, context, request).await {
        Ok(()) => Ok(StatusCode::ACCEPTED.into_response()),
        // If Flexgate itself fails, the token may still be valid. Answer 5xx, so that the transmitter tries again.
        Err(Refusal { problem, .. }) if problem.kind().status.is_server_error() => Err(problem),
        Err(refusal) => {
            app.note_refused(source.name(), &refusal.problem).await;
            Ok(refusal.into_response())
        }
    }
}

async fn take(source: &SignalSource, app: &App, context: &Context, request: Request) -> Result<(), Refusal> {
    let invalid = |problem| Refusal { code: "invalid_request", problem };
    let (_, essence, body) = raw_body(request, MAX_DELIVERY).await.map_err(invalid)?;
    if essence != "application/secevent+jwt" {
        let problem = Problem::new(kinds::BODY_MALFORMED, "Send content-type: application/secevent+jwt.");
        return Err(invalid(problem));
    }
    let text = std::str::from_utf8(&body).map_err(|error| {
        invalid(Problem::new(kinds::BODY_MALFORMED, "The body is no security event token.").because(&error))
    })?;
    let token = source.transmitter().verify(text.trim(), context.deadline).await.map_err(|error| {
        audit(source.name(), "delivery_unproven", context);
        of_token(&error)
    })?;
    let now = app.clock_rng.now();
    let read = set::read(source, &token, now).map_err(|fault| {
        invalid(Problem::new(kinds::BODY_MALFORMED, format!("In the token, {fault}.")).because(&fault))
    })?;
    match read {
        Read::Signal(message) => {
            app.queue.send(&[*message], now).await.map_err(|error| invalid(Problem::from(&error)))?;
            log_delivery(source.name(), &Counts { accepted: 1, ignored: 0, dropped: 0 }, context);
        }
        Read::Verification => tracing::info!(
            target: "flexgate::webhooks",
            request_id = context.request_id.as_str(), source = source.name().as_str(),
            "stream verified"
        ),
        Read::Ignored(kind, row) => {
            log_delivery(source.name(), &Counts { accepted: 0, ignored: 1, dropped: 0 }, context);
            if let Some(row) = row {
                app.note_ignored(source.name(), &kind, row, context).await;
            }
        }
    }
    Ok(())
}

/// Converts the error of an unacceptable token to a refusal. The code tells an honest transmitter what to correct. The
/// description is the same for all invalid tokens.
fn of_token(error: &CallerError) -> Refusal {
    let code = match error {
        CallerError::Invalid(TokenFault::IssuerMissing | TokenFault::IssuerUnknown) => "invalid_issuer",
        CallerError::Invalid(TokenFault::Audience(_) | TokenFault::Missing("aud") | TokenFault::Malformed("aud")) => {
            "invalid_audience"
        }
        CallerError::Invalid(
            TokenFault::KeyUnknown | TokenFault::KeyMissing | TokenFault::KeyAlgorithm | TokenFault::Algorithm,
        ) => "invalid_key",
        CallerError::Invalid(TokenFault::Signature) => "authentication_failed",
        _ => "invalid_request",
    };
    let problem = match error {
        CallerError::Unavailable { .. } | CallerError::TooLarge => Problem::from(error),
        _ => {
            Problem::new(kinds::DELIVERY_UNPROVEN, "Flexgate does not accept the security event token.").because(error)
        }
    };
    Refusal { code, problem }
}
