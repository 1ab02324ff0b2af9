//! Runs a function on AWS Lambda. This module contains the process and its async runtime, the code that passes
//! invocations to a router, and the configuration of the AWS clients.

mod aws;
mod hosting;
mod process;

pub use aws::Aws;
pub use hosting::{answer_invocation, invocation_deadline, serve};
pub use process::{prewarm, run};
