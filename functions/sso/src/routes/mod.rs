//! The routes of the sign-in function.

pub(crate) mod browser;
mod cookies;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use flexgate::web::refuse_method;

use crate::app::App;

/// Returns the function's routes. The caller adds the `Edge` layers, which are the same for all functions.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        // Refuse HEAD, because a HEAD request would begin a login that nobody wants.
        .route("/sso/{profile}/login", get(browser::login).head(refuse_method))
        .route("/sso/{profile}/callback", get(browser::callback).head(refuse_method))
        .route("/sso/{profile}/config", get(browser::config))
        .route("/sso/token", post(token::token))
        .route("/sso/validate", post(token::validate))
        .route("/sso/logout", post(token::logout))
        .with_state(app)
}
