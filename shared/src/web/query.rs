//! Reads query strings. A parameter may occur only once.

use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use super::problem::{FieldError, Problem, kinds};

/// The parameters of a query string, decoded.
#[derive(Debug, Clone)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Returns the parameter's value. Returns `None` if the parameter is absent. Refuses a parameter that occurs twice,
    /// because it is ambiguous.
    pub fn once(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Self::wrong(name, "must be given once")),
        }
    }

    /// The problem document which says that the parameter `name` is wrong.
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
