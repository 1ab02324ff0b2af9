//! A request's id, deadline and client, for the handler.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::base::outbound::Deadline;
use crate::telemetry::RequestId;

/// A request's id, deadline and client.
#[derive(Debug, Clone)]
pub struct Context {
    /// The request's id.
    pub request_id: RequestId,
    /// The time by which the answer must be ready.
    pub deadline: Deadline,
    /// The client's address, if it is known.
    pub client: Option<IpAddr>,
}

/// Reads the context that the layer around all routes ([`super::Edge`]) adds to each request. A route without this
/// layer gets a deadline that has already expired, so that the first test of the route fails.
impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let none =
            || Self { request_id: RequestId::default(), deadline: Deadline::after(Duration::ZERO), client: None };
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(none))
    }
}
