//! Applies queued identity events to Flex, and runs queued jobs. On AWS, SQS calls [`batch`]. On one machine,
//! [`consumer`] runs beside the gateway.

mod app;
pub mod batch;
pub mod consumer;
mod events;
mod graph;
mod jobs;
mod lines;
mod settings;
mod signals;
mod tries;

pub use app::{App, EVENT_TIME, Handled};
pub use graph::GraphSettings;
pub use settings::{Settings, tries};
