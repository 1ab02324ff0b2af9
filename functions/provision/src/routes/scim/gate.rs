//! The middleware in front of every SCIM route: it authenticates the caller by its token, turns refusals into SCIM
//! error bodies, and writes at most one audit event per request.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flexgate::telemetry::{Audit, Decision};
use flexgate::web::{Context, LoggedProblem, kinds};
use http::Method;

use super::answer::About;
use super::failure::Failure;
use crate::scim::{Refusal, Scim};

pub(super) async fn gate(State(scim): State<Arc<Scim>>, context: Context, request: Request, next: Next) -> Response {
    let action = action(request.method());
    let verified = scim.tokens.verify(request.headers(), request.uri(), context.deadline).await;
    let (caller, response) = match verified {
        Ok(Some(token_id)) => (Some(token_id), next.run(request).await),
        Ok(None) => (None, Failure::unproven().into_response()),
        Err(error) => (None, Failure::from(Refusal::from(error)).into_response()),
    };
    audit(action, caller.as_deref(), &response, &context);
    response
}

fn action(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "scim_read",
        Method::DELETE => "scim_delete",
        Method::PUT | Method::PATCH => "scim_update",
        _ => "scim_create",
    }
}

/// Writes an audit event if the request was refused, or if it changed something. Successful reads and server errors
/// appear only in the request's log line.
fn audit(action: &str, token_id: Option<&str>, response: &Response, context: &Context) {
    let told = response.extensions().get::<LoggedProblem>().map(|told| told.0.kind());
    let about = response.extensions().get::<About>().map(|about| about.0.as_str());
    let (decision, reason) = match told {
        Some(kind) if kind.status.is_server_error() && kind != kinds::SCIM_UNSUPPORTED => return,
        Some(kind) => (Decision::Refused, Some(kind.code)),
        None if action == "scim_read" || about.is_none() => return,
        None => (Decision::Allowed, None),
    };
    let subject = token_id.map(|id| format!("scim:{id}"));
    Audit { action, issuer: None, subject: subject.as_deref(), flex_user_sid: about, reason }
        .write(&context.request_id, decision);
}
