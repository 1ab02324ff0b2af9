//! The id and the deadline of a request, for the request's handler.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::base::outbound::Deadline;
use crate::telemetry::RequestId;

/// A request's id and deadline.
#[derive(Debug, Clone)]
pub struct Context {
    /// The request's id.
    pub request_id: RequestId,
    /// The time by which the answer must be ready.
    pub deadline: Deadline,
}

/// A request has no context if its route was not put behind the edge ([`super::Edge::assemble`]). Such a request gets a
/// deadline that has already passed, so that the mistake shows in the route's first test.
impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let none = || Self { request_id: RequestId::default(), deadline: Deadline::after(Duration::ZERO) };
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(none))
    }
}
