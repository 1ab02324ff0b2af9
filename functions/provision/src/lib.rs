//! `/users` and `/scim/v2`: trusted systems provision, look up and deprovision Flex users here.
//!
//! [`router`] translates HTTP to [`flexgate::users`] and to `scim`, and back.

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
