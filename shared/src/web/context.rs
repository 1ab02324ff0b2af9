//! What a handler knows of the request beside its content.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::base::outbound::Deadline;
use crate::telemetry::RequestId;

/// The request's id, and by when it must be answered.
#[derive(Debug, Clone)]
pub struct Context {
    /// Names the request.
    pub request_id: RequestId,
    /// When the answer must have been given.
    pub deadline: Deadline,
}

/// A request served outside [`super::Edge::assemble`] has no context, so its deadline has already passed: a route
/// served without its edge fails at its first test.
impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let none = || Self { request_id: RequestId::default(), deadline: Deadline::after(Duration::ZERO) };
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(none))
    }
}
