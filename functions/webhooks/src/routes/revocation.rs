//! Receives requests to end all sessions of a person: Global Token Revocation, which Okta calls Universal Logout
//! (<https://datatracker.ietf.org/doc/draft-parecki-oauth-global-token-revocation/>).

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use flexgate::authn::{LEEWAY, SignalClaims, bearer};
use flexgate::base::strict_json;
use flexgate::domain::Action;
use flexgate::store::StoreError;
use flexgate::web::{Context, Problem, raw_json};
use http::StatusCode;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::outcome::{Counts, MAX_DELIVERY, audit, log_delivery};
use crate::app::App;
use crate::problem;
use crate::signals::SignalSource;
use crate::signals::subject::{self, NamedPerson};

pub(super) async fn receive(
    source: &SignalSource,
    app: &Arc<App>,
    context: &Context,
    request: Request,
) -> Result<Response, Problem> {
    let taken = take(source, app, context, request).await;
    if let Err(problem) = &taken
        && problem.kind().status.is_client_error()
    {
        app.note_refused(source.name(), problem).await;
    }
    taken.map(|()| StatusCode::NO_CONTENT.into_response())
}

async fn take(source: &SignalSource, app: &App, context: &Context, request: Request) -> Result<(), Problem> {
    let unproven = |problem| {
        audit(source.name(), "delivery_unproven", context);
        problem
    };
    let Some(unverified_token) = bearer(request.headers()).map(str::to_owned) else {
        return Err(unproven(problem::no_token()));
    };
    let verified = source.transmitter().verify(&unverified_token, context.deadline).await;
    let token = verified.map_err(|error| unproven(Problem::from(&error)))?;
    let id = token.jti.parse().map_err(|_| unproven(problem::token_refused()))?;
    let (_, body) = raw_json(request, MAX_DELIVERY).await?;
    let document = strict_json::parse(&body).map_err(problem::unreadable)?;
    // Early drafts of Global Token Revocation used the name `subject` for `sub_id`.
    let identifier = document.get("sub_id").or_else(|| document.get("subject")).unwrap_or(&Value::Null);
    let person = subject::read(identifier, source.namespace()).map_err(problem::subject)?;
    let now = app.clock_rng.now();
    if !may_use(app, &token, &person, now).await.map_err(|error| Problem::from(&error))? {
        return Err(unproven(problem::token_refused()));
    }
    let event = source.event(id, person, Action::EndSessions, token.issued_at, now);
    let people_of = source.people_of();
    let found = app.finder.find(&event, people_of.as_ref()).await.map_err(|error| Problem::from(&error))?;
    // Queue the event even if Flexgate does not know the person. The event also ends sessions under the username or the
    // identity that the request names.
    let message = source.message(event, "global-token-revocation");
    app.queue.send(&[message], now).await.map_err(|error| Problem::from(&error))?;
    log_delivery(source.name(), &Counts { accepted: 1, ignored: 0, dropped: 0 }, context);
    if found.is_empty() { Err(problem::subject_unknown()) } else { Ok(()) }
}

/// Records that the token is used for the person. Returns false if the token was used for another person before. The
/// token itself does not name the person. Without this check, somebody who intercepts the token could use it to sign
/// out anybody.
///
/// The transmitter repeats a request if the request fails or its answer is lost. So a single write both marks the token
/// as used and records the person. With two writes, a failure between them would leave a used token without a person,
/// and Flexgate would refuse the repeated request.
async fn may_use(
    app: &App,
    token: &SignalClaims,
    person: &NamedPerson,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let until = token.expires_at.unwrap_or(now) + LEEWAY + Duration::SECOND;
    let issuer = token.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    let what = format!("{issuer}\n{}", token.jti);
    app.once_only.claim_for(&person.identifiers(), "revocation_token", &what, now, until).await
}
