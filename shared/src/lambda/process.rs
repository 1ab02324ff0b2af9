//! A function's process on Lambda: its async runtime, and its work before the first request.

use std::future::Future;
use std::time::Duration;

use lambda_http::Error;
use tokio::runtime::{Builder, Runtime};

use crate::base::outbound::Deadline;

/// Lambda sets this variable if one process serves several requests at once.
const AT_ONCE: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// Runs a function until Lambda ends the process.
///
/// A process that serves one request at a time has one thread, because threads cost memory and start-up time. A
/// process that serves several requests at once has one thread for each processor.
pub fn run(function: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    runtime()?.block_on(function)
}

#[expect(clippy::disallowed_methods, reason = "this is Lambda's variable, not a setting of Flexgate")]
fn runtime() -> std::io::Result<Runtime> {
    let several = std::env::var(AT_ONCE).is_ok_and(|count| count.parse::<u32>().is_ok_and(|count| count > 1));
    let mut builder = if several { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build()
}

/// Prefetches the data that the first request will need. Stops after `time`. Failures are ignored, because the first
/// request tries again and reports them.
pub async fn prewarm<F: Future>(time: Duration, fetches: impl FnOnce(Deadline) -> F) {
    if !time.is_zero() {
        let deadline = Deadline::after(time);
        let _fetched = tokio::time::timeout_at(deadline.instant(), fetches(deadline)).await;
    }
}
