//! The HTTP routes of this function.

pub(crate) mod explain;
pub(crate) mod listing;
pub(crate) mod scim;
pub(crate) mod sessions;
pub(crate) mod users;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::app::App;

/// The routes, without the middleware.
pub fn router(app: Arc<App>) -> Router {
    let scim = app.scim.clone().map(scim::router).unwrap_or_default();
    Router::new()
        .route("/users", post(users::provision).get(listing::list))
        .route("/users/{flex_user_sid}", get(users::show).delete(users::deprovision))
        .route("/users/{flex_user_sid}/explain", get(explain::explain))
        .route("/users/{flex_user_sid}/sessions", get(sessions::of_user).delete(sessions::end_of_user))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{session_id}", delete(sessions::end))
        .with_state(app)
        .merge(scim)
}
