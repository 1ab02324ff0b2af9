//! The routes `/users` and `/scim/v2`. Trusted systems use them to provision, look up and deprovision Flex users.
//!
//! [`router`] translates HTTP requests to calls of [`flexgate::users`] and of the module `scim`, and the results to
//! HTTP responses.

mod app;
mod openapi;
mod problem;
mod routes;
mod scim;
mod settings;

pub use app::App;
pub use openapi::document as openapi;
pub use routes::router;
pub use scim::{NewToken, ScimSettings, TokenHashes, WorkerFields, protocol, user_schema};
pub use settings::Settings;
