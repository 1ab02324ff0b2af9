//! SCIM responses: a resource, a list, or no content.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::scim::protocol::{Document, Page, Projection, Schema};

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// The `id` of the changed user or group, for the audit event.
#[derive(Debug, Clone)]
pub(super) struct About(pub(super) String);

/// A handler's response.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Option<Value>,
    location: Option<String>,
    version: Option<String>,
    about: Option<About>,
}

impl Answer {
    /// A resource, with its version and address.
    pub(super) fn resource(status: StatusCode, document: Document, schema: &Schema, shown: &Projection) -> Self {
        let meta = |name: &str| {
            document.get("meta").and_then(|meta| meta.get(name)).and_then(Value::as_str).map(str::to_owned)
        };
        let about = document.get("id").and_then(Value::as_str).map(|id| About(id.to_owned()));
        let (location, version) = (meta("location"), meta("version"));
        Self { status, body: Some(shown.apply(schema, document).into()), location, version, about }
    }

    /// A document that is not a stored resource, such as a list or a discovery document.
    pub(super) fn plain(body: Value) -> Self {
        Self { status: StatusCode::OK, body: Some(body), location: None, version: None, about: None }
    }

    /// One page of a list.
    pub(super) fn list(page: Page, schema: &Schema, shown: &Projection) -> Self {
        let resources: Vec<Value> =
            page.resources.into_iter().map(|document| shown.apply(schema, document).into()).collect();
        let mut body = json!({ "schemas": [LIST], "itemsPerPage": resources.len() });
        if let Some(body) = body.as_object_mut() {
            body.extend(page.total.map(|total| ("totalResults".to_owned(), total.into())));
            body.extend(page.start.map(|start| ("startIndex".to_owned(), start.into())));
            body.extend(page.next.map(|next| ("nextCursor".to_owned(), next.to_string().into())));
            body.insert("Resources".to_owned(), resources.into());
        }
        Self::plain(body)
    }

    /// Appends resources to the list.
    pub(super) fn append(&mut self, more: Vec<Value>) {
        let Some(body) = self.body.as_mut().and_then(Value::as_object_mut) else { return };
        let Some(resources) = body.get_mut("Resources").and_then(Value::as_array_mut) else { return };
        resources.extend(more);
        let count = resources.len();
        body.insert("itemsPerPage".to_owned(), count.into());
    }

    /// Builds a list response with all `resources` on one page.
    pub(super) fn whole(resources: &[Value]) -> Self {
        Self::plain(json!({
            "schemas": [LIST], "totalResults": resources.len(), "startIndex": 1, "itemsPerPage": resources.len(),
            "Resources": resources,
        }))
    }

    /// No content, after a write to `id`.
    pub(super) fn done(id: String) -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, location: None, version: None, about: Some(About(id)) }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, body.to_string()).into_response(),
            None => self.status.into_response(),
        };
        let headers = response.headers_mut();
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        }
        let text = |text: Option<String>| text.and_then(|text| HeaderValue::from_str(&text).ok());
        if let Some(location) = text(self.location) {
            headers.insert(LOCATION, location);
        }
        if let Some(version) = text(self.version) {
            headers.insert(ETAG, version);
        }
        if let Some(about) = self.about {
            response.extensions_mut().insert(about);
        }
        response
    }
}
