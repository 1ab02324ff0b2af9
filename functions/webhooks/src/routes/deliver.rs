//! The handlers of `/webhooks/{source}`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use flexgate::base::strict_json;
use flexgate::domain::SourceName;
use flexgate::web::{Context, Path, Problem, Query, raw_json};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::outcome::{Counts, MAX_DELIVERY, audit, log_delivery};
use super::{push, revocation};
use crate::app::App;
use crate::problem;
use crate::proof::Unproven;
use crate::reading::Reading;
use crate::signal_settings::SignalKind;
use crate::signals::SignalSource;
use crate::source::{Challenged, Delivery};
use crate::sources::ConfiguredSource;

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
    /// The challenge that Okta sent.
    verification: String,
}

/// Receives a delivery
///
/// Flexgate verifies the signature over the raw bytes, and answers once the events are queued. Microsoft Graph verifies
/// a webhook's URL with a POST that has `?validationToken=`. The answer is 200, with the token as text.
///
/// A source of the kind `ssf` sends a security event token with `content-type: application/secevent+jwt`. The answer is
/// 202 without a body, or 400 with `err` and `description` (RFC 8935). A source of the kind `global-token-revocation`
/// gets 204.
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
        return match source.kind() {
            SignalKind::Ssf => push::receive(source, &app, &context, request).await,
            SignalKind::GlobalTokenRevocation => revocation::receive(source, &app, &context, request).await,
        };
    }
    let (name, source) = app.source(&name)?;
    if let Some(answer) = challenged(source, request.headers(), &query)? {
        return Ok(answer);
    }
    let taken = take(&app, name, source, &context, request).await;
    // Store a note only if the sender made a mistake. Flexgate's own failures are in the log.
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
    let now = app.clock_rng.now();
    let verify =
        |secrets: &[SecretString]| source.source.verify(&Delivery { headers: &headers, body: &body, secrets, now });
    // Read the secrets again only if the signature or the secret is wrong. After any other error, new secrets cannot
    // make the delivery valid.
    let proves = |secrets: &[SecretString]| verify(secrets) != Err(Unproven::Wrong);
    let secrets = app.secrets_of(name, source, proves, context.deadline).await?;
    let delivery = Delivery { headers: &headers, body: &body, secrets: &secrets, now };
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

/// Answers the challenge with which Okta verifies the webhook's URL
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

/// Answers the request with which a source verifies Flexgate's webhook URL. Returns `None` for any other request.
fn challenged(source: &ConfiguredSource, headers: &HeaderMap, query: &Query) -> Result<Option<Response>, Problem> {
    let Some(answer) = source.source.challenge(headers, query)? else { return Ok(None) };
    let fits = |text: &str| (1..=MAX_CHALLENGE).contains(&text.len());
    match answer {
        Challenged::Json(name, value) if fits(&value) => Ok(Some(axum::Json(json!({ name: value })).into_response())),
        Challenged::Text(value) if fits(&value) => {
            // An attacker can choose the challenge's text. So answer with plain text, which a browser does not treat as
            // HTML.
            let plain = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            Ok(Some((StatusCode::OK, [plain], value).into_response()))
        }
        Challenged::Json(..) | Challenged::Text(_) => Err(problem::no_challenge()),
    }
}

impl App {
    fn signal_source(&self, unverified_name: &str) -> Option<&SignalSource> {
        self.signals.get(&unverified_name.parse().ok()?)
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
