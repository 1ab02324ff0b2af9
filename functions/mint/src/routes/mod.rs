//! The route `POST /token`.

mod caller;
mod exchange;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::app::App;

/// The routes, without the `Edge` layers.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/token", post(token::mint)).with_state(app)
}
