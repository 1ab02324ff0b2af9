//! `/scim/v2`: SCIM 2.0 for identity systems.
//!
//! Translates HTTP to [`crate::scim`] and back. The middleware in front of every route authenticates the caller by its
//! token, turns refusals into SCIM error bodies, and writes at most one audit event per request.

mod answer;
mod body;
mod discovery;
mod failure;
mod gate;
mod groups;
pub(crate) mod openapi;
mod query;
mod search;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};

use crate::scim::{BASE, Scim};
use answer::Answer;
use failure::Failure;

/// The routes.
pub(crate) fn router(scim: Arc<Scim>) -> Router {
    let routes = Router::new()
        .route("/Users", get(users::list).post(users::create))
        .route("/Users/.search", post(users::search))
        .route("/Users/{id}", get(users::show).put(users::replace).patch(users::patch).delete(users::delete))
        .route("/Groups", get(groups::list).post(groups::create))
        .route("/Groups/.search", post(groups::search))
        .route("/Groups/{id}", get(groups::show).put(groups::replace).patch(groups::patch).delete(groups::delete))
        .route("/.search", post(search::everything))
        .route("/ServiceProviderConfig", get(discovery::config))
        .route("/ResourceTypes", get(discovery::resource_types))
        .route("/ResourceTypes/{id}", get(discovery::resource_type))
        .route("/Schemas", get(discovery::schemas))
        .route("/Schemas/{id}", get(discovery::schema))
        .route("/Bulk", any(unsupported))
        .route("/Me", any(unknown))
        .route("/{*rest}", any(unknown))
        .method_not_allowed_fallback(refuse_method);
    let gated = routes.layer(from_fn_with_state(scim.clone(), gate::gate)).with_state(scim);
    Router::new().nest(BASE, gated)
}

async fn unsupported() -> Result<Answer, Failure> {
    Err(Failure::unsupported())
}

async fn unknown() -> Result<Answer, Failure> {
    Err(Failure::unknown())
}

async fn refuse_method() -> Result<Answer, Failure> {
    Err(Failure::method_not_allowed())
}
