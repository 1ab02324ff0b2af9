//! What is known of a request when it has been answered, and its name.

use std::fmt;
use std::time::Duration;

use super::meter::Meter;
use crate::base::clock_rng::ClockRng;

/// Names one request, in `x-request-id`, in every problem document and in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new id, for work that no request started; the edge creates the ids of requests.
    #[must_use]
    pub fn new(clock_rng: &ClockRng) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(clock_rng.random())))
    }

    /// 32 hexadecimal digits.
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

/// What a request's line says.
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
    /// The status answered.
    pub status: u16,
    /// The problem's code, if it was one.
    pub code: Option<&'a str>,
    /// Why, with causes; for operators only.
    pub fault: Option<&'a str>,
    /// From the first byte seen to the answer made.
    pub duration: Duration,
    /// The request's upstream calls.
    pub meter: Meter,
}
