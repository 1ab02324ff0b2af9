//! Tasks that outlive the request that began them.

use super::{meter, metered, trace, traced};

/// Runs `work` to its end, even if the client disconnects and the caller of this function is dropped. The upstream
/// calls in `work` are counted for the current request.
pub async fn detached<F>(work: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let task = tokio::spawn(traced(trace::current(), metered(work)));
    match task.await {
        Ok((output, calls)) => {
            meter::add(calls);
            output
        }
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process is stopping.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;
    use crate::telemetry::upstream;

    #[tokio::test]
    async fn the_work_goes_on_without_its_caller_and_counts_for_the_request() {
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (gate, finished) = (go.clone(), done.clone());
        let caller = tokio::spawn(detached(async move {
            gate.notified().await;
            finished.notify_one();
        }));
        tokio::task::yield_now().await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        go.notify_one();
        done.notified().await;

        let (output, meter) = metered(detached(upstream(async { 7 }))).await;
        assert_eq!((output, meter.calls), (7, 1));
    }
}
