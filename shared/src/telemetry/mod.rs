//! What is written down: one line for each request, and audit events.
//!
//! Flat JSON on standard output, documented field by field in `docs/logging.md`. No token, code,
//! verifier, secret or e-mail address is ever a field; who a person is, is logged as identifiers.

mod audit;
mod line;
mod meter;

pub use audit::{Audit, Decision, alarm};
pub use line::{RequestLine, request};
pub use meter::{Meter, metered, upstream};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts writing, at the levels of `filter` (`info`, or `flexgate=debug,hyper=warn`). A second start
/// in one process changes nothing.
///
/// The filter is read leniently: a typing mistake in a log level must not keep agents from signing in.
pub fn start(filter: &str) {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).parse_lossy(filter);
    let format = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_timer(UtcTime::rfc_3339());
    let _already_started = tracing_subscriber::registry().with(filter).with(format).try_init();
}

/// Writes audit events alone, to `writer`: standard output is the command's own.
pub fn start_audit<W>(writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::new("off,flexgate::audit=info,flexgate::alarm=info");
    let format = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_timer(UtcTime::rfc_3339())
        .with_writer(writer);
    let _already_started = tracing_subscriber::registry().with(filter).with(format).try_init();
}
