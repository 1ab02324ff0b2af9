//! `POST /token`: a Flex token for an authenticated caller.
//!
//! [`router`] translates HTTP to the rules in `minting` and back.

mod app;
mod minting;
mod openapi;
mod problem;
mod routes;

pub use app::App;
pub use flexgate::platform::OwnerSettings as Settings;
pub use openapi::document as openapi;
pub use routes::router;
