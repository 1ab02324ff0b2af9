//! Running on AWS Lambda: the process and its runtime, a router behind the invocations, and the AWS client.

mod aws;
mod hosting;
mod process;

pub use aws::Aws;
pub use hosting::{answer_invocation, invocation_deadline, serve};
pub use process::{prewarm, run};
