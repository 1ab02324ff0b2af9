//! What a handler knows of the request beside its content.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::base::ambient::Ambient;
use crate::base::outbound::Deadline;

/// Names one request, in `x-request-id`, in every problem document and in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// A new one. For work that no request brought, the edge having made a request's.
    #[must_use]
    pub fn new(ambient: &Ambient) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(ambient.random())))
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

/// The request's id, and by when it must be answered.
#[derive(Debug, Clone)]
pub struct Context {
    /// Names the request.
    pub request_id: RequestId,
    /// When the answer must have been given.
    pub deadline: Deadline,
}

/// Outside [`super::Site::assemble`] there is no edge to set a context. Such a request has no time at
/// all, so that a route served without its edge fails at its first test.
impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let none = || Self { request_id: RequestId(String::new()), deadline: Deadline::after(Duration::ZERO) };
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(none))
    }
}
