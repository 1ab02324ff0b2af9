//! The middleware in front of every SCIM route. It authenticates the caller, converts refusals to SCIM error bodies,
//! and writes at most one audit event per request.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flexgate::store::{Note, Noted, note_briefly};
use flexgate::telemetry::{Audit, Decision};
use flexgate::web::{Context, LoggedProblem, Problem, kinds};
use http::Method;
use serde_json::Value;

use super::answer::About;
use super::failure::Failure;
use crate::scim::protocol::Document;
use crate::scim::{Refusal, Scim, Verified};

pub(super) async fn gate(
    State(scim): State<Arc<Scim>>,
    context: Context,
    mut request: Request,
    next: Next,
) -> Response {
    let action = action(request.method());
    let external_id = ExternalId::default();
    request.extensions_mut().insert(external_id.clone());
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().trim_end_matches('/').to_owned());
    let route = format!("{} {}", known(request.method()), path.as_deref().unwrap_or("an unknown address"));
    let verified = scim.tokens.verify(request.headers(), request.uri(), context.deadline).await;
    let (caller, mut response) = match verified {
        Ok(Verified::Token(id)) => (Some(id), next.run(request).await),
        Ok(Verified::No) => (None, Failure::unproven().into_response()),
        Ok(Verified::NoneIsValid) => (None, Failure::no_token_is_valid(scim.tokens.secret_id()).into_response()),
        Err(error) => (None, Failure::from(Refusal::from(error)).into_response()),
    };
    // For a malformed path, the path extractor answers with a problem document. Replace that document with a SCIM
    // error.
    if response.extensions_mut().remove::<Problem>().is_some() {
        response = Failure::unknown().into_response();
    }
    audit(action, caller.as_deref(), &response, &context);
    if let Some(LoggedProblem(problem)) = response.extensions().get::<LoggedProblem>()
        && problem.kind().status.is_client_error()
    {
        note(&scim, caller, route, problem, &external_id).await;
    }
    response
}

/// Stores a note about a refused request, for administrators. Requests without a valid token cause at most one note a
/// minute, because anybody can send them.
async fn note(scim: &Scim, caller: Option<String>, route: String, problem: &Problem, external_id: &ExternalId) {
    let is_anybody = caller.is_none();
    let note = Note {
        noted: Noted::Refused,
        source: caller.map_or_else(|| "scim".into(), |id| format!("scim:{id}").into()),
        route: route.into(),
        code: problem.kind().code.into(),
        reason: problem.detail().into(),
        external_id: external_id.0.get().cloned(),
        times: 1,
        at: scim.clock_rng.now(),
    };
    let due = if is_anybody { scim.notices.due(note) } else { Some(note.shortened()) };
    if let Some(note) = due {
        note_briefly(scim.notes.note(&note)).await;
    }
}

/// Returns the name of the HTTP method, or `OTHER` if SCIM does not use the method. Notes about refused requests
/// contain this name. Without `OTHER`, a client could invent a method and so put any text into a note.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => method.as_str(),
        _ => "OTHER",
    }
}

/// The client's own key for the resource (`externalId`), if the request's body contains one. Empty until Flexgate has
/// read the body.
#[derive(Debug, Clone, Default)]
pub(super) struct ExternalId(Arc<OnceLock<Box<str>>>);

impl ExternalId {
    /// Reads `externalId` from a body.
    pub(super) fn of_body(&self, body: &Document) {
        // Some identity systems use an e-mail address as `externalId`. A note must not contain an e-mail address, so
        // leave out such a value.
        let id = body.get("externalId").and_then(Value::as_str).filter(|id| !id.contains('@'));
        if let Some(id) = id {
            self.0.get_or_init(|| id.into());
        }
    }
}

fn action(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "scim_read",
        Method::DELETE => "scim_delete",
        Method::PUT | Method::PATCH => "scim_update",
        _ => "scim_create",
    }
}

/// Writes an audit event about a refusal or a change. Successful reads and server errors only get a log line.
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
