//! The HTTP routes of this function.

pub(crate) mod deliver;
pub(crate) mod outcome;
mod push;
mod revocation;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use flexgate::web::refuse_method;

use crate::app::App;

/// The routes, without the middleware.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/webhooks/{source}", post(deliver::receive).get(deliver::challenge).head(refuse_method))
        .with_state(app)
}
