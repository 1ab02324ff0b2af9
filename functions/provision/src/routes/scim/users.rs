//! `/Users`.

use std::sync::Arc;

use axum::extract::{Request, State};
use flexgate::web::{Context, Path, Query};
use http::header::IF_MATCH;
use http::{HeaderMap, StatusCode};

use super::answer::Answer;
use super::body;
use super::failure::Failure;
use super::query::{Asked, projection};
use crate::scim::Scim;

type Outcome = Result<Answer, Failure>;

pub(super) async fn list(State(scim): State<Arc<Scim>>, query: Query, context: Context) -> Outcome {
    let asked = Asked::of_query(&query, &scim.clock_rng)?;
    found(&scim, &asked, &context).await
}

pub(super) async fn search(State(scim): State<Arc<Scim>>, context: Context, request: Request) -> Outcome {
    let asked = Asked::of_body(&body::read(request).await?, &scim.clock_rng)?;
    found(&scim, &asked, &context).await
}

async fn found(scim: &Scim, asked: &Asked, context: &Context) -> Outcome {
    let page = scim.users.search(asked.test.as_ref(), &asked.paging, context.deadline).await?;
    Ok(Answer::list(page, scim.users.schema(), &asked.shown))
}

pub(super) async fn show(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    query: Query,
    context: Context,
) -> Outcome {
    let document = scim.users.get(&id, context.deadline).await?;
    Ok(Answer::resource(StatusCode::OK, document, scim.users.schema(), &projection(&query)?))
}

pub(super) async fn create(State(scim): State<Arc<Scim>>, query: Query, context: Context, request: Request) -> Outcome {
    let shown = projection(&query)?;
    let document = scim.users.schema().read(&body::read(request).await?)?;
    let created = scim.users.create(&document, context.deadline).await?;
    Ok(Answer::resource(StatusCode::CREATED, created, scim.users.schema(), &shown))
}

pub(super) async fn replace(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    query: Query,
    context: Context,
    request: Request,
) -> Outcome {
    let (shown, if_match) = (projection(&query)?, if_match(request.headers()));
    let body = body::read(request).await?;
    let replaced = scim.users.replace(&id, if_match.as_deref(), &body, context.deadline).await?;
    Ok(Answer::resource(StatusCode::OK, replaced, scim.users.schema(), &shown))
}

pub(super) async fn patch(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    query: Query,
    context: Context,
    request: Request,
) -> Outcome {
    let (shown, if_match) = (projection(&query)?, if_match(request.headers()));
    let body = body::read(request).await?;
    let patched = scim.users.patch(&id, if_match.as_deref(), &body, context.deadline).await?;
    Ok(Answer::resource(StatusCode::OK, patched, scim.users.schema(), &shown))
}

pub(super) async fn delete(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    context: Context,
) -> Outcome {
    scim.users.delete(&id, if_match(&headers).as_deref(), context.deadline).await?;
    Ok(Answer::done(id))
}

/// Reads the header `If-Match`. A value that is not text matches no version.
pub(super) fn if_match(headers: &HeaderMap) -> Option<String> {
    let tags: Vec<_> = headers.get_all(IF_MATCH).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    (!tags.is_empty()).then(|| tags.join(","))
}
