//! Receives webhooks from identity systems at `/webhooks/{source}`. Translates each delivery into Flexgate's own
//! events, and queues these events.
//!
//! The function verifies a source's signature over the raw bytes. It answers 202 or 204 only after the events are in
//! the queue. It never calls Twilio.

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
mod signal_settings;
mod signals;
mod source;
mod sources;

pub use app::{App, StartError};
pub use openapi::document as openapi;
pub use routes::outcome::MAX_DELIVERY;
pub use routes::router;
pub use secrets::{SecretFault, WebhookSecrets};
pub use settings::{Settings, SourceFault, WebhookSettings};
pub use signal_settings::{SignalKind, SignalMeaning, SignalSettings};
