//! How many upstream calls a request made, and how long it waited for them.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static METER: Cell<Meter>;
}

/// A request's upstream calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    /// The number of calls.
    pub calls: u32,
    /// The total time they took.
    pub time: Duration,
}

/// Runs `work` and returns its output with the upstream calls it made.
pub async fn metered<F: Future>(work: F) -> (F::Output, Meter) {
    METER
        .scope(Cell::default(), async {
            let output = work.await;
            (output, METER.with(Cell::get))
        })
        .await
}

/// Runs one call to an upstream, and counts it for the request it belongs to, if any.
pub async fn upstream<F: Future>(call: F) -> F::Output {
    let began = Instant::now();
    let output = call.await;
    let _outside_a_request = METER.try_with(|cell| {
        let meter = cell.get();
        cell.set(Meter { calls: meter.calls + 1, time: meter.time + began.elapsed() });
    });
    output
}
