//! Reads a request body: one JSON object, with the content type of SCIM or of JSON.

use std::error::Error;

use axum::body::to_bytes;
use axum::extract::Request;
use flexgate::base::strict_json;
use flexgate::web::{Problem, kinds};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::LengthLimitError;
use serde_json::Value;

use super::failure::Failure;
use super::gate::ExternalId;
use crate::scim::protocol::Document;

/// The maximum size of a body, in bytes. A group of ten thousand members fits.
const MAX_BODY: usize = 1024 * 1024;

pub(super) async fn read(request: Request) -> Result<Document, Failure> {
    let external_id = request.extensions().get::<ExternalId>().cloned();
    // Some clients send no content type.
    if !request.headers().get_all(CONTENT_TYPE).iter().all(is_scim) {
        let detail = "Send content-type: application/scim+json.";
        return Err(Problem::new(kinds::UNSUPPORTED_MEDIA_TYPE, detail).into());
    }
    let bytes = to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| {
        if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            Problem::new(kinds::TOO_LARGE, "A body may have at most 1048576 bytes.")
        } else {
            Problem::new(kinds::BODY_MALFORMED, "The body ended before it was complete.").because(&error)
        }
    })?;
    match strict_json::parse(&bytes) {
        Ok(Value::Object(map)) => {
            if let Some(external_id) = external_id {
                external_id.of_body(&map);
            }
            Ok(map)
        }
        Ok(_) => Err(Problem::new(kinds::BODY_MALFORMED, "The body must be one JSON object: { … }.").into()),
        Err(error) => Err(Problem::new(kinds::BODY_MALFORMED, format!("The body is {error}.")).because(&error).into()),
    }
}

/// Whether the content type is SCIM, JSON or empty. False if the header is not valid text.
fn is_scim(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().ok().and_then(|text| text.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| {
        ["", "application/scim+json", "application/json"].iter().any(|known| known.eq_ignore_ascii_case(essence))
    })
}
