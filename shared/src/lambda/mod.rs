//! Runs a function on AWS Lambda: the process, the passing of invocations to a router, and the configuration of the
//! AWS clients.

mod aws;
mod hosting;
mod process;

pub use aws::Aws;
pub use hosting::{answer_invocation, invocation_deadline, serve};
pub use process::{prewarm, run};
