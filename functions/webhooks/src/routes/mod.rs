//! The routes. They translate HTTP requests to calls of the sources' code, and the results to HTTP responses.

pub(crate) mod deliver;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use flexgate::web::refuse_method;

use crate::app::App;

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/webhooks/{source}", post(deliver::receive).get(deliver::challenge).head(refuse_method))
        .with_state(app)
}
