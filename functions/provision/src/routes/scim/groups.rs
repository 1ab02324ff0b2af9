//! `/Groups`.

use std::sync::Arc;

use axum::extract::{Request, State};
use flexgate::web::{Context, Path, Query};
use http::{HeaderMap, StatusCode};

use super::answer::Answer;
use super::body;
use super::failure::Failure;
use super::query::{Asked, projection};
use super::users::if_match;
use crate::scim::protocol::operations;
use crate::scim::{GroupChange, Scim};

type Outcome = Result<Answer, Failure>;

pub(super) async fn list(State(scim): State<Arc<Scim>>, query: Query) -> Outcome {
    let asked = Asked::of_query(&query, &scim.clock_rng)?;
    found(&scim, &asked).await
}

pub(super) async fn search(State(scim): State<Arc<Scim>>, request: Request) -> Outcome {
    let asked = Asked::of_body(&body::read(request).await?, &scim.clock_rng)?;
    found(&scim, &asked).await
}

async fn found(scim: &Scim, asked: &Asked) -> Outcome {
    let page = scim.groups.search(asked.test.as_ref(), &asked.paging).await?;
    Ok(Answer::list(page, scim.groups.schema(), &asked.shown))
}

pub(super) async fn show(State(scim): State<Arc<Scim>>, Path(id): Path<String>, query: Query) -> Outcome {
    let document = scim.groups.get(&id).await?;
    Ok(Answer::resource(StatusCode::OK, document, scim.groups.schema(), &projection(&query)?))
}

pub(super) async fn create(State(scim): State<Arc<Scim>>, query: Query, context: Context, request: Request) -> Outcome {
    let shown = projection(&query)?;
    let document = scim.groups.schema().read(&body::read(request).await?)?;
    let created = scim.groups.create(&document, context.deadline).await?;
    Ok(Answer::resource(StatusCode::CREATED, created, scim.groups.schema(), &shown))
}

pub(super) async fn replace(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    query: Query,
    context: Context,
    request: Request,
) -> Outcome {
    let (shown, if_match) = (projection(&query)?, if_match(request.headers()));
    let document = scim.groups.schema().read(&body::read(request).await?)?;
    let replaced =
        scim.groups.change(&id, if_match.as_deref(), GroupChange::Replace(&document), context.deadline).await?;
    Ok(Answer::resource(StatusCode::OK, replaced, scim.groups.schema(), &shown))
}

pub(super) async fn patch(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    query: Query,
    context: Context,
    request: Request,
) -> Outcome {
    let (shown, if_match) = (projection(&query)?, if_match(request.headers()));
    let operations = operations(&body::read(request).await?)?;
    let patched =
        scim.groups.change(&id, if_match.as_deref(), GroupChange::Patch(&operations), context.deadline).await?;
    Ok(Answer::resource(StatusCode::OK, patched, scim.groups.schema(), &shown))
}

pub(super) async fn delete(
    State(scim): State<Arc<Scim>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    context: Context,
) -> Outcome {
    scim.groups.delete(&id, if_match(&headers).as_deref(), context.deadline).await?;
    Ok(Answer::done(id))
}
