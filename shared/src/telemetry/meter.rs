//! Counts a request's upstream calls, and measures their time.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static METER: Cell<Meter>;
}

/// The number and the total time of a request's upstream calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    /// The number of calls.
    pub calls: u32,
    /// The total time of the calls.
    pub time: Duration,
}

/// Runs `work`. Returns its output, and the number and the total time of its upstream calls.
pub async fn metered<F: Future>(work: F) -> (F::Output, Meter) {
    METER
        .scope(Cell::default(), async {
            let output = work.await;
            (output, METER.with(Cell::get))
        })
        .await
}

/// Runs one upstream call. If there is a current request, counts the call for it.
pub async fn upstream<F: Future>(call: F) -> F::Output {
    let began = Instant::now();
    let output = call.await;
    add(Meter { calls: 1, time: began.elapsed() });
    output
}

/// Adds the upstream calls of another task to those of the current request.
pub(super) fn add(more: Meter) {
    let _outside_a_request = METER.try_with(|cell| {
        let meter = cell.get();
        cell.set(Meter { calls: meter.calls + more.calls, time: meter.time + more.time });
    });
}
