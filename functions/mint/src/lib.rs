//! The route `POST /token`: returns a Flex token for an authenticated caller.

mod app;
mod minting;
mod openapi;
mod problem;
mod routes;

pub use app::App;
pub use flexgate::platform::OwnerSettings as Settings;
pub use openapi::document as openapi;
pub use routes::router;
