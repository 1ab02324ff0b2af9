//! Serves SCIM 2.0 at `/scim/v2`, for identity systems. The code behind these routes is in [`crate::scim`].

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
    let table = [
        ("/Users", get(users::list).post(users::create)),
        ("/Users/.search", post(users::search)),
        ("/Users/{id}", get(users::show).put(users::replace).patch(users::patch).delete(users::delete)),
        ("/Groups", get(groups::list).post(groups::create)),
        ("/Groups/.search", post(groups::search)),
        ("/Groups/{id}", get(groups::show).put(groups::replace).patch(groups::patch).delete(groups::delete)),
        ("/.search", post(search::everything)),
        ("/ServiceProviderConfig", get(discovery::config)),
        ("/ResourceTypes", get(discovery::resource_types)),
        ("/ResourceTypes/{id}", get(discovery::resource_type)),
        ("/Schemas", get(discovery::schemas)),
        ("/Schemas/{id}", get(discovery::schema)),
        ("/Bulk", any(unsupported)),
        ("/Me", any(unknown)),
    ];
    let mut routes = Router::new();
    for (path, methods) in table {
        // Some clients add a slash to every path, so serve each path with and without it.
        routes = routes.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    let routes = routes.route("/{*rest}", any(unknown)).method_not_allowed_fallback(refuse_method);
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
