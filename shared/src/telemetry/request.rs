//! A request's id, and the fields of its log line.

use std::fmt;
use std::time::Duration;

use super::meter::Meter;
use crate::base::clock_rng::ClockRng;

/// The id of a request, in the header `x-request-id`, in problem documents and in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// Makes a random id. Work that does not belong to a request, such as a job, also gets an id.
    #[must_use]
    pub fn new(clock_rng: &ClockRng) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(clock_rng.random())))
    }

    /// Returns the id: 32 hexadecimal digits, or an empty text for the default id.
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
    /// The function that answered the request.
    pub function: &'a str,
    /// The id of the request.
    pub request_id: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The pattern of the route. It is never the path itself, because a path can contain a person's name.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The code of the problem. `None` if the answer is not a problem document.
    pub code: Option<&'a str>,
    /// The error and its causes. Only operators may see them.
    pub fault: Option<&'a str>,
    /// The time from the arrival of the request until the answer was ready.
    pub duration: Duration,
    /// The number and the total time of the request's upstream calls.
    pub meter: Meter,
}
