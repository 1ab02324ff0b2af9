//! Sign-in: the routes for login, callback, token, validate and logout.
//!
//! [`router`] translates HTTP to the rules in `signin` and back. The function holds no Twilio credential and cannot get
//! one.

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
