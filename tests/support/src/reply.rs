//! An HTTP answer, with accessors for tests.

use axum::response::Response;
use flexgate::base::outbound::Answer;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
    /// The body as JSON, or null.
    pub body: Value,
}

impl Reply {
    /// Reads a router's answer.
    pub async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self::new(parts.status, parts.headers, text)
    }

    /// Converts an answer from the network.
    #[must_use]
    pub fn of(answer: Answer) -> Self {
        Self::new(answer.status, answer.headers, String::from_utf8_lossy(&answer.body).into_owned())
    }

    fn new(status: StatusCode, headers: HeaderMap, text: String) -> Self {
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, body }
    }

    /// Asserts the status. Returns the body as JSON.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "most tests need only the assertion")]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// The code of the problem document, or an empty string.
    #[must_use]
    pub fn code(&self) -> String {
        let problem = self.header("content-type") == "application/problem+json";
        let code = if problem { self.body["code"].as_str().map(str::to_owned) } else { None };
        code.unwrap_or_default()
    }

    /// The value of a header, or an empty string.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Every `Set-Cookie` line.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The `Set-Cookie` line of one cookie.
    #[must_use]
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        let starts = format!("{name}=");
        self.set_cookies().into_iter().find(|line| line.starts_with(&starts))
    }

    /// The status and the problem code, for one assertion about both.
    #[must_use]
    pub fn problem(&self) -> (u16, String) {
        (self.status.as_u16(), self.code())
    }
}
