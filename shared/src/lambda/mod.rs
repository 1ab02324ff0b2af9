//! Running on AWS Lambda: the process and its runtime, the router that answers invocations, and the AWS client
//! configuration.

mod aws;
mod hosting;
mod process;

pub use aws::Aws;
pub use hosting::{answer_invocation, invocation_deadline, serve};
pub use process::{prewarm, run};
