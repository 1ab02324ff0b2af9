//! The log line of a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::metrics;
use super::request::RequestLine;

static COLD: AtomicBool = AtomicBool::new(true);

/// Writes the line and the request's metrics. The level is `ERROR` for the status 500 (a fault of Flexgate), `WARN` for
/// a higher one (mostly a fault elsewhere), and `INFO` for all others.
pub fn request(line: &RequestLine<'_>) {
    let cold_start = COLD.swap(false, Ordering::Relaxed);
    metrics::request(line, cold_start);
    let duration_ms = millis(line.duration);
    let upstream_ms = millis(line.meter.time);
    // tracing needs the level at compile time.
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

/// Milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
