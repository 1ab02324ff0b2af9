//! Sign-in through SSO: the routes for login, callback, token, validate and logout.
//!
//! The function has no Twilio credential and no permission to read it.

mod app;
mod openapi;
mod problem;
mod routes;
mod settings;
mod signin;

pub use app::App;
pub use openapi::document as openapi;
pub use routes::router;
pub use settings::{Settings, SignInSettings};
