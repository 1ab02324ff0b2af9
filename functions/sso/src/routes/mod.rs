//! The routes. They translate HTTP requests to calls of [`crate::signin`], and the results to HTTP responses.

pub(crate) mod browser;
mod cookies;
pub(crate) mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use flexgate::web::refuse_method;

use crate::app::App;

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        // A HEAD request must not begin a login, because it would set a cookie although nobody is signing in.
        .route("/sso/{profile}/login", get(browser::login).head(refuse_method))
        .route("/sso/{profile}/callback", get(browser::callback).head(refuse_method))
        .route("/sso/{profile}/config", get(browser::config))
        .route("/sso/token", post(token::token))
        .route("/sso/validate", post(token::validate))
        .route("/sso/logout", post(token::logout))
        .with_state(app)
}
