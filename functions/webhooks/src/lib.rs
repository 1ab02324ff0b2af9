//! `/webhooks/{source}`: what identity systems say, verified, put into one shape, and queued.
//!
//! Nothing is believed before its source has proven it over the raw bytes, and nothing is acknowledged
//! before the queue has it. Twilio is never asked here: a delivery is answered in milliseconds.

mod app;
mod mapping;
mod openapi;
mod problem;
mod proof;
mod reading;
mod routes;
mod secrets;
mod settings;
mod source;
mod sources;

pub use app::{App, StartError};
pub use openapi::document as openapi;
pub use routes::deliver::MAX_DELIVERY;
pub use routes::router;
pub use secrets::{DocumentFault, WebhookSecrets};
pub use settings::{Settings, SourceFault, WebhookSettings};
