//! A request's id, and the fields of its log line.

use std::fmt;
use std::time::Duration;

use super::meter::Meter;
use crate::base::clock_rng::ClockRng;

/// Identifies one request in `x-request-id`, in every problem document and in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new random id. The edge creates one for each request; work that no request started creates its own.
    #[must_use]
    pub fn new(clock_rng: &ClockRng) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(clock_rng.random())))
    }

    /// The id as 32 hexadecimal digits; the default id is empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fields of a request's log line.
#[derive(Debug)]
pub struct RequestLine<'a> {
    /// Which function answered.
    pub function: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The route's pattern, never the path itself: paths can hold names.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The problem's code, if the answer is a problem.
    pub code: Option<&'a str>,
    /// The error and its causes; for operators only.
    pub fault: Option<&'a str>,
    /// The time from when the edge received the request until the answer was ready.
    pub duration: Duration,
    /// The request's upstream calls.
    pub meter: Meter,
}
