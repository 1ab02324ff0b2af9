//! Reads request bodies. A JSON object may have at most 64 KiB. If it has several mistakes, one response lists all of
//! them.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::LengthLimitError;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::problem::{FieldError, Problem, kinds};
use crate::base::strict_json;

/// The maximum size of a body for [`Fields::read`], in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The fields of a JSON body. Each reading method removes one field, and records a mistake if the field is wrong.
/// [`Fields::finish`] reports all mistakes. A field that no method has read also counts as a mistake.
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads the body. An empty body has no fields.
    pub async fn read(request: Request) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE).cloned();
        let bytes = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| unreadable(&error, MAX_BODY))?;
        if bytes.is_empty() {
            return Ok(Self { map: Map::new(), errors: Vec::new() });
        }
        if essence(content_type.as_ref()) != "application/json" {
            return Err(Problem::new(kinds::UNSUPPORTED_MEDIA_TYPE, "Send content-type: application/json."));
        }
        match strict_json::parse(&bytes) {
            Ok(Value::Object(map)) => Ok(Self { map, errors: Vec::new() }),
            Ok(_) => Err(Problem::new(kinds::BODY_MALFORMED, "The body must be one JSON object: { … }.")),
            Err(error) => Err(Problem::new(kinds::BODY_MALFORMED, format!("The body is {error}.")).because(&error)),
        }
    }

    /// Reads a required string.
    pub fn text<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.required(name, parse_text)
    }

    /// Reads a string that may be absent or null.
    pub fn optional_text<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        self.optional(name, parse_text)
    }

    /// Reads a required field with `read`.
    pub fn required<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, String>) -> Option<T> {
        match self.map.remove(name) {
            None | Some(Value::Null) => self.wrong(name, "is required".to_owned()),
            Some(value) => self.checked(name, read(value)),
        }
    }

    /// Reads an optional field with `read`. The field may be absent or null.
    pub fn optional<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, String>) -> Option<T> {
        match self.map.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.checked(name, read(value)),
        }
    }

    /// Returns `value` if there are no mistakes and all fields have been read. Otherwise returns a problem that lists
    /// the mistakes, including the fields that were not read.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Problem> {
        for name in std::mem::take(&mut self.map).into_iter().map(|(name, _)| name) {
            // Shorten the name, because the caller chose it and it may be very long.
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            self.errors.push(FieldError { field: name, detail: "is not a field of this request".to_owned() });
        }
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(Problem::fields(kinds::FIELDS_INVALID, self.errors)),
        }
    }

    fn checked<T>(&mut self, name: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|detail| self.wrong::<T>(name, detail)).ok()
    }

    fn wrong<T>(&mut self, name: &str, detail: String) -> Option<T> {
        self.errors.push(FieldError { field: name.to_owned(), detail });
        None
    }
}

fn parse_text<T: FromStr<Err: Display>>(value: Value) -> Result<T, String> {
    match value {
        Value::String(text) => text.parse().map_err(|error: T::Err| error.to_string()),
        _ => Err("must be a string".to_owned()),
    }
}

/// Returns the headers and the exact bytes of a JSON body of at most `limit` bytes. A signature check needs the exact
/// bytes. The content type must be `application/json` or `application/…+json`. Does not parse the body.
pub async fn raw_json(request: Request, limit: usize) -> Result<(HeaderMap, Bytes), Problem> {
    let (headers, essence, bytes) = raw_body(request, limit).await?;
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        Ok((headers, bytes))
    } else {
        Err(Problem::new(kinds::UNSUPPORTED_MEDIA_TYPE, "Send content-type: application/json."))
    }
}

/// Returns the headers, the media type in lower case, and the exact bytes of a body of at most `limit` bytes.
pub async fn raw_body(request: Request, limit: usize) -> Result<(HeaderMap, String, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, limit).await.map_err(|error| unreadable(&error, limit))?;
    let essence = essence(parts.headers.get(CONTENT_TYPE));
    Ok((parts.headers, essence, bytes))
}

/// Reads a form's parameters in order. The caller must have checked the content type.
pub async fn form(request: Request) -> Result<Vec<(String, String)>, Problem> {
    let bytes = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| unreadable(&error, MAX_BODY))?;
    Ok(form_urlencoded::parse(&bytes).into_owned().collect())
}

/// Returns the media type in lower case, without parameters.
fn essence(content_type: Option<&HeaderValue>) -> String {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unreadable(error: &axum::Error, limit: usize) -> Problem {
    let too_large = error.source().is_some_and(<dyn Error>::is::<LengthLimitError>);
    if too_large {
        Problem::new(kinds::TOO_LARGE, format!("A body may have at most {limit} bytes."))
    } else if is_timeout(error) {
        Problem::new(kinds::BODY_MALFORMED, "The body did not arrive in time.").because(error)
    } else {
        Problem::new(kinds::BODY_MALFORMED, "The body ended before it was complete.").because(error)
    }
}

/// Whether the body arrived too slowly.
fn is_timeout(error: &axum::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let mut causes = causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}
