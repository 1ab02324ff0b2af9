//! Logging: one line for each request, audit events, and metrics.
//!
//! The log is flat JSON on standard output. `docs/logging.md` documents each field. No field may contain a token,
//! code, verifier, secret or e-mail address.

mod audit;
mod detached;
mod line;
mod meter;
mod metrics;
mod request;
mod trace;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use audit::{Audit, Decision, alarm};
pub use detached::detached;
pub use line::request;
pub use meter::{Meter, metered, upstream};
pub use metrics::{credential_failed, dead_letter, ignored_event, refreshed, swept, try_failed};
pub use request::{RequestId, RequestLine};
pub(crate) use trace::header as trace_header;
pub use trace::{Trace, X_AMZN_TRACE_ID, traced};

/// The settings of logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The levels, like `info` or `flexgate=debug,hyper=warn`.
    pub levels: String,
    /// The `CloudWatch` namespace of the metrics. `None` turns metrics off.
    pub metrics: Option<String>,
    /// The renamed environment variables that are still set under their old names, each with the old and the new name.
    /// [`start`] logs a warning for each of them.
    pub old_names: Vec<(&'static str, &'static str)>,
}

/// Starts logging. A second call in the same process does not change the levels or the namespace.
///
/// Invalid levels count as `info`, so that a typo does not prevent sign-ins.
pub fn start(log: &Log) {
    if let Some(namespace) = &log.metrics {
        metrics::start(namespace);
    }
    let named: Targets = log.levels.parse().unwrap_or_default();
    let filter = if named.default_level().is_none() { named.with_default(tracing::Level::INFO) } else { named };
    let format = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_timer(UtcTime::rfc_3339());
    let _already_started = tracing_subscriber::registry().with(filter).with(format).try_init();
    for (old, new) in &log.old_names {
        tracing::warn!(old, new, "a variable is set under its old name");
    }
}

/// Logs only audit events and alarms, to `writer`. Commands use this, because they print their results on standard
/// output.
pub fn start_audit<W>(writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = Targets::new()
        .with_target("flexgate::audit", tracing::Level::INFO)
        .with_target("flexgate::alarm", tracing::Level::INFO);
    let format = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_timer(UtcTime::rfc_3339())
        .with_writer(writer);
    let _already_started = tracing_subscriber::registry().with(filter).with(format).try_init();
}
