//! Twilio's errors, in Twilio's own format and as RFC 9457 problem documents.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::web;

#[derive(Debug)]
pub(crate) struct TwilioError {
    status: u16,
    code: u32,
    message: String,
    detail: Option<String>,
}

impl TwilioError {
    pub(crate) fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: None }
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn not_found(resource: &str) -> Self {
        Self::new(404, 20404, format!("The requested resource {resource} was not found"))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, 20004, "Method not allowed")
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(401, 20003, "Authenticate")
    }

    /// The error for an invalid body.
    pub(crate) fn body(detail: impl Into<String>) -> Self {
        Self::new(400, 45004, "Request body validation failed").with_detail(detail)
    }

    pub(crate) fn response(&self, as_problem: bool) -> Response {
        let status = web::status(self.status);
        let more_info = format!("https://www.twilio.com/docs/errors/{}", self.code);
        if as_problem {
            let body = json!({
                "type": more_info, "title": self.message, "status": self.status, "code": self.code,
                "detail": self.detail.as_deref().unwrap_or(&self.message), "errors": [],
            });
            return web::respond(status, "application/problem+json", body.to_string());
        }
        let mut body =
            json!({ "code": self.code, "message": self.message, "more_info": more_info, "status": self.status });
        if let (Some(members), Some(detail)) = (body.as_object_mut(), &self.detail) {
            members.insert("detail".to_owned(), detail.as_str().into());
        }
        let mut response = web::json(status, &body);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                axum::http::header::WWW_AUTHENTICATE,
                axum::http::HeaderValue::from_static("Basic realm=\"Twilio API\""),
            );
        }
        response
    }
}
