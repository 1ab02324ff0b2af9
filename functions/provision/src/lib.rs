//! Serves `/users`, `/sessions` and `/scim/v2`. Through these routes, trusted systems provision, look up and
//! deprovision Flex users, and list and end sessions.

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
