//! The route `POST /token`.

mod caller;
mod exchange;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::app::App;

/// Returns the function's routes. The caller adds the `Edge` layers, which are the same for all functions.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/token", post(token::mint)).with_state(app)
}
