//! An HTTP answer, with the accessors that tests need.

use axum::response::Response;
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
}

impl Reply {
    /// Reads a router's answer.
    pub async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status: parts.status, headers: parts.headers, text }
    }

    /// The body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The problem document's code; empty if the answer is no problem document.
    #[must_use]
    pub fn code(&self) -> String {
        let problem = self.header("content-type") == "application/problem+json";
        let code = if problem { self.json()["code"].as_str().map(str::to_owned) } else { None };
        code.unwrap_or_default()
    }

    /// A header's value; empty if the header is missing.
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

    /// Status and problem code, so that one assertion can check both.
    #[must_use]
    pub fn problem(&self) -> (u16, String) {
        (self.status.as_u16(), self.code())
    }
}
