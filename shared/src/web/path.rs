//! Reads path parameters.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Problem, kinds};

/// The percent-decoded parameters of a request's path. A malformed path results in a [`Problem`].
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[expect(clippy::disallowed_types, reason = "this is the one wrapper")]
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| {
            Problem::new(kinds::ROUTE_UNKNOWN, "The address contains percent-encoded bytes that are not UTF-8 text.")
        })
    }
}
