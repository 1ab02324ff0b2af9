//! The route `POST /token`: translates HTTP to calls of [`crate::minting`] and back.

pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::app::App;

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/token", post(token::mint)).with_state(app)
}
