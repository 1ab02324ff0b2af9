//! Reads query strings. Refuses repeated parameters.

use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use super::problem::{FieldError, Problem, kinds};

/// The parameters of a query string, decoded.
#[derive(Debug, Clone)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Returns the parameter's value, or `None` if it is absent. Refuses a repeated parameter.
    pub fn once(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Self::wrong(name, "must be given once")),
        }
    }

    /// Returns the problem document for a wrong parameter.
    #[must_use]
    pub fn wrong(name: &str, detail: impl Into<String>) -> Problem {
        Problem::fields(kinds::QUERY_INVALID, vec![FieldError { field: name.to_owned(), detail: detail.into() }])
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}
