//! Receives webhooks from identity systems at `/webhooks/{source}`. Translates each delivery to Flexgate's own events,
//! and queues these events.
//!
//! A source's signature is verified over the raw bytes. The sender gets status 202 only after the events are in the
//! queue. This function never calls Twilio.

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
