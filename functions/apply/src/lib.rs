//! Applies queued identity events to Flex, and runs queued jobs. This crate runs as a Lambda function that SQS calls
//! ([`batch`]), or as a task beside the local gateway ([`consumer`]). Both call [`App::handle`] for each message.

mod app;
pub mod batch;
pub mod consumer;
mod events;
mod graph;
mod jobs;
mod lines;
mod settings;

pub use app::{App, EVENT_TIME, Handled};
pub use graph::GraphSettings;
pub use settings::{Settings, tries};
