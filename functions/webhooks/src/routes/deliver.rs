//! The handlers of `/webhooks/{source}`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use flexgate::base::strict_json;
use flexgate::domain::SourceName;
use flexgate::store::{Message, Note, Noted, note_briefly};
use flexgate::telemetry::{self, Audit, Decision};
use flexgate::web::{Context, Path, Problem, Query, raw_json};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::catalogue::Row;
use crate::problem;
use crate::proof::Unproven;
use crate::reading::Reading;
use crate::signals::SignalSource;
use crate::source::{Challenged, Delivery};
use crate::sources::ConfiguredSource;

/// The maximum size of a delivery, in bytes. Identity systems send at most a few dozen events at once.
pub const MAX_DELIVERY: usize = 256 * 1024;

/// The maximum length of a challenge, in bytes.
const MAX_CHALLENGE: usize = 4096;

/// Which source.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Source {
    /// A source that `FLEXGATE_WEBHOOKS` names.
    #[param(pattern = "^[a-z0-9-]{1,32}$", example = "standard")]
    source: String,
}

/// The source, for a challenge.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Challenger {
    /// A source of the kind `okta` that `FLEXGATE_WEBHOOKS` names.
    #[param(pattern = "^[a-z0-9-]{1,32}$", example = "okta")]
    source: String,
}

/// How Okta verifies an address.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Challenge {
    /// The text to return in the answer.
    #[param(rename = "x-okta-verification-challenge", pattern = "^[!-~]{1,1024}$", example = "5f1c7d0e8a9b")]
    challenge: String,
}

/// The answer to a delivery.
#[derive(Serialize, ToSchema)]
struct Accepted {
    /// How many events of the delivery were queued.
    accepted: usize,
}

/// The answer to a challenge.
#[derive(Serialize, ToSchema)]
struct Verification {
    /// The text of the challenge.
    verification: String,
}

/// Receives a delivery
///
/// Flexgate verifies the signature over the raw bytes, and answers once the events are queued. Microsoft Graph verifies
/// an address with a POST that has `?validationToken=`. The answer to that is 200, with the token as text.
///
/// A source of the kind `ssf` sends a security event token with `content-type: application/secevent+jwt`. The answer is
/// 202 without a body, or 400 with `err` and `description` (RFC 8935). A source of the kind `global-token-revocation` gets
/// 204.
#[utoipa::path(
    post,
    path = "/webhooks/{source}",
    operation_id = "deliver",
    tag = "webhooks",
    params(Source),
    request_body(content = serde_json::Value, description = "Exactly as the source sends it: the signature covers it."),
    responses(
        (status = 202, description = "The events are durably queued", body = Accepted),
        (status = 204, description = "The end of the person's sessions is durably queued"),
    ),
    security(("webhook" = [])),
)]
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    if let Some(source) = app.signal_source(&name) {
        return source.receive(&app, &context, request).await;
    }
    let (name, source) = app.source(&name)?;
    if let Some(answer) = challenged(source, request.headers(), &query)? {
        return Ok(answer);
    }
    let taken = take(&app, name, source, &context, request).await;
    // Only a sender's mistake becomes a note. The log contains Flexgate's own failures.
    if let Err(problem) = &taken
        && problem.kind().status.is_client_error()
    {
        app.note_refused(name, problem).await;
    }
    taken
}

async fn take(
    app: &App,
    name: &SourceName,
    source: &ConfiguredSource,
    context: &Context,
    request: Request,
) -> Result<Response, Problem> {
    let (headers, body) = raw_json(request, MAX_DELIVERY).await?;
    let secrets = app.secrets_of(name, source, context.deadline).await?;
    let delivery = Delivery { headers: &headers, body: &body, secrets: &secrets, now: app.clock_rng.now() };
    source.source.verify(&delivery).map_err(|error| refuse(name, error, context))?;

    let document = strict_json::parse(&body).map_err(problem::unreadable)?;
    let mut reading = Reading::new(name, source.issuer.as_deref(), delivery.now, &app.clock_rng);
    source.source.read(&delivery, &document, &mut reading);
    let Reading { messages, ignored, relevant, dropped, .. } = reading;
    if !messages.is_empty() {
        app.queue.send(&messages, app.clock_rng.now()).await.map_err(|error| Problem::from(&error))?;
    }
    let accepted = messages.len();
    log_delivery(name, &Counts { accepted, ignored, dropped }, context);
    if dropped > 0 {
        audit(name, "item_unproven", context);
    }
    for (kind, row) in relevant {
        app.note_ignored(name, &kind, row, context).await;
    }
    Ok((StatusCode::ACCEPTED, axum::Json(json!({ "accepted": accepted }))).into_response())
}

/// Answers the challenge with which Okta verifies an address
#[utoipa::path(
    get,
    path = "/webhooks/{source}",
    operation_id = "challenge",
    tag = "webhooks",
    params(Challenger, Challenge),
    responses((status = 200, description = "The text of the challenge", body = Verification)),
)]
pub(crate) async fn challenge(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if app.signal_source(&name).is_some() {
        return Err(problem::no_challenge());
    }
    let (_, source) = app.source(&name)?;
    challenged(source, &headers, &query)?.ok_or_else(problem::no_challenge)
}

/// Answers the request with which a source verifies Flexgate's address. Returns `None` for any other request.
fn challenged(source: &ConfiguredSource, headers: &HeaderMap, query: &Query) -> Result<Option<Response>, Problem> {
    let Some(answer) = source.source.challenge(headers, query)? else { return Ok(None) };
    let fits = |text: &str| (1..=MAX_CHALLENGE).contains(&text.len());
    match answer {
        Challenged::Json(name, value) if fits(&value) => Ok(Some(axum::Json(json!({ name: value })).into_response())),
        Challenged::Text(value) if fits(&value) => {
            // An attacker can choose the challenge's text. As plain text, it cannot become an HTML page in a browser.
            let plain = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            Ok(Some((StatusCode::OK, [plain], value).into_response()))
        }
        Challenged::Json(..) | Challenged::Text(_) => Err(problem::no_challenge()),
    }
}

/// How many events of a delivery were queued, ignored, and dropped without a proof.
pub(crate) struct Counts {
    pub(crate) accepted: usize,
    pub(crate) ignored: usize,
    pub(crate) dropped: usize,
}

pub(crate) fn log_delivery(name: &SourceName, counts: &Counts, context: &Context) {
    let Counts { accepted, ignored, dropped } = *counts;
    tracing::info!(
        target: "flexgate::webhooks",
        request_id = context.request_id.as_str(), source = name.as_str(), accepted, ignored, dropped,
        "delivery"
    );
}

impl App {
    /// Stores a note about a refused delivery.
    pub(crate) async fn note_refused(&self, name: &SourceName, problem: &Problem) {
        let (code, reason) = (problem.kind().code, problem.detail());
        self.note(self.about(name, Noted::Refused, "POST /webhooks/{source}", code, reason)).await;
    }

    /// Counts and logs an ignored event that may change who has access, and stores a note about it.
    pub(crate) async fn note_ignored(&self, name: &SourceName, kind: &str, row: &Row, context: &Context) {
        telemetry::ignored_event();
        if self.note(self.about(name, Noted::Ignored, kind, "ignored", row.text)).await {
            tracing::warn!(
                target: "flexgate::webhooks",
                request_id = context.request_id.as_str(), source = name.as_str(), event_type = kind, why = row.text,
                "an event that may change who has access is ignored"
            );
        }
    }

    fn signal_source(&self, unverified_name: &str) -> Option<&SignalSource> {
        self.signals.get(&unverified_name.parse().ok()?)
    }

    fn about(&self, source: &SourceName, noted: Noted, route: &str, code: &str, reason: &str) -> Note {
        Note {
            noted,
            source: source.as_str().into(),
            route: route.into(),
            code: code.into(),
            reason: reason.into(),
            external_id: None,
            times: 1,
            at: self.clock_rng.now(),
        }
    }

    /// Stores a note for administrators. Returns false if the same note was stored less than a minute ago. Ignores a
    /// failure to store the note, so that the sender's answer stays the same.
    async fn note(&self, note: Note) -> bool {
        let Some(note) = self.notices.due(note) else { return false };
        note_briefly(self.queue.send(&[Message::Note(note)], self.clock_rng.now())).await;
        true
    }

    fn source(&self, unverified_name: &str) -> Result<(&SourceName, &ConfiguredSource), Problem> {
        let name: SourceName = unverified_name.parse().map_err(|_| problem::source_unknown())?;
        self.sources.get_key_value(&name).ok_or_else(problem::source_unknown)
    }
}

fn refuse(name: &SourceName, error: Unproven, context: &Context) -> Problem {
    audit(name, "delivery_unproven", context);
    problem::unproven(error)
}

pub(crate) fn audit(name: &SourceName, reason: &str, context: &Context) {
    Audit { action: "webhook", issuer: Some(name.as_str()), reason: Some(reason), ..Audit::default() }
        .write(&context.request_id, Decision::Refused);
}
