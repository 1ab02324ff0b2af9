//! The AWS X-Ray trace of the current request. Flexgate sends it to upstream services.

use std::future::Future;

use http::HeaderValue;
use http::header::HeaderName;

/// The header with the trace.
pub const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The longest trace that Flexgate accepts, in bytes.
const MAX: usize = 256;

tokio::task_local! {
    static TRACE: Trace;
}

/// A trace from Lambda's runtime API. Flexgate ignores a trace in the headers of the caller's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(HeaderValue);

impl Trace {
    /// Reads a trace like `Root=1-…;Parent=…;Sampled=1`. Returns `None` if the text does not begin with `Root=`, is
    /// longer than 256 bytes, or has characters other than letters, digits and `=;:-`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"=;:-".contains(&byte);
        let is_one = text.starts_with("Root=") && text.len() <= MAX && text.bytes().all(plain);
        is_one.then(|| HeaderValue::from_str(text).ok().map(Self)).flatten()
    }
}

/// Runs `work` as part of the trace, if there is one.
pub async fn traced<F: Future>(trace: Option<Trace>, work: F) -> F::Output {
    match trace {
        Some(trace) => TRACE.scope(trace, work).await,
        None => work.await,
    }
}

/// Returns the trace header for upstream requests, or `None` outside a trace.
pub(crate) fn header() -> Option<HeaderValue> {
    TRACE.try_with(|trace| trace.0.clone()).ok()
}

/// The current trace.
pub(super) fn current() -> Option<Trace> {
    TRACE.try_with(Trace::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_trace_is_one() {
        assert!(Trace::read("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1").is_some());
        for text in ["", "Root", "Root=1\r\nx: y", "Self=1-5759e988", "Root=1 2", &format!("Root={}", "1".repeat(300))]
        {
            assert_eq!(Trace::read(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn the_trace_is_known_within_and_not_outside() {
        let trace = Trace::read("Root=1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(traced(trace.clone(), async { header() }).await, trace.map(|trace| trace.0));
        assert_eq!(traced(None, async { header() }).await, None);
    }
}
