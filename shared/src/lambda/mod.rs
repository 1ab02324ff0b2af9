//! Runs a function on AWS Lambda: starts the process, passes invocations to a router, and configures the AWS clients.

mod aws;
mod hosting;
mod process;

pub use aws::Aws;
pub use hosting::{answer_invocation, invocation_deadline, serve};
pub use process::{prewarm, run};
