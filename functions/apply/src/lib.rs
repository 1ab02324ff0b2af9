//! Applies queued identity events to Flex, and does queued jobs: as a Lambda function that SQS calls ([`batch`]), or as a task
//! beside the local gateway ([`consumer`]). Both do the same to a message: [`App::handle`].

mod app;
pub mod batch;
pub mod consumer;
mod events;
mod jobs;
mod lines;
mod settings;

pub use app::{App, EVENT_TIME, Handled};
pub use settings::{Settings, tries};
