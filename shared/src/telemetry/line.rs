//! The log line of a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::metrics;
use super::request::RequestLine;

static COLD: AtomicBool = AtomicBool::new(true);

/// Writes the log line and the metrics of a request. The level is `ERROR` for status 500 (Flexgate itself failed),
/// `WARN` for a higher status (usually an upstream service failed), and otherwise `INFO`.
pub fn request(line: &RequestLine<'_>) {
    let cold_start = COLD.swap(false, Ordering::Relaxed);
    metrics::request(line, cold_start);
    let duration_ms = millis(line.duration);
    let upstream_ms = millis(line.meter.time);
    // The macros of `tracing` need the level at compile time, so each level needs its own call.
    macro_rules! write_at {
        ($level:ident) => {
            tracing::$level!(
                target: "flexgate::request",
                function = line.function,
                request_id = line.request_id,
                method = line.method,
                route = line.route,
                status = line.status,
                code = line.code,
                fault = line.fault,
                duration_ms,
                upstream_calls = line.meter.calls,
                upstream_ms,
                cold_start,
                "request"
            )
        };
    }
    match line.status {
        500 => write_at!(error),
        501.. => write_at!(warn),
        _ => write_at!(info),
    }
}

/// Returns milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
