//! The route `/webhooks/{source}`: verifies deliveries from identity systems, translates them to Flexgate's own events,
//! and puts these events into a queue.
//!
//! Flexgate trusts a delivery only after it has verified the source's proof (such as a signature) over the raw bytes.
//! It acknowledges a delivery only after the events are in the queue. This function never calls Twilio, so it answers a
//! delivery in milliseconds.

mod app;
mod catalogue;
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
