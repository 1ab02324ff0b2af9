//! The route `POST /token`. It translates HTTP requests to calls of [`crate::minting`], and the results to HTTP
//! responses.

mod caller;
mod exchange;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::app::App;

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/token", post(token::mint)).with_state(app)
}
