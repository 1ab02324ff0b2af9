//! Builds answers: JSON, HTML pages and redirects. Also escapes HTML, and encodes and decodes base64 and base64url.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Converts a status that a test has chosen. An invalid number becomes 500.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    respond(status, "application/json", body.to_string())
}

pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn see_other(location: &str) -> Response {
    redirect(StatusCode::SEE_OTHER, location)
}

pub(crate) fn redirect(status: StatusCode, location: &str) -> Response {
    let mut response = empty(status);
    match HeaderValue::from_str(location) {
        Ok(value) => {
            response.headers_mut().insert(header::LOCATION, value);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(_) => respond(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", "the redirect is no header value"),
    }
}

/// Appends query parameters to the URL. Returns an invalid URL unchanged.
pub(crate) fn with_query(target: &str, parameters: &[(&str, &str)]) -> String {
    let Ok(mut parsed) = url::Url::parse(target) else { return target.to_owned() };
    parsed.query_pairs_mut().extend_pairs(parameters);
    parsed.to_string()
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Flexgate's style sheet, with additional rules for elements that only the simulator's pages have, such as the list of
/// people and long URLs.
const STYLE: &str = concat!(
    include_str!("../../../shared/web/design.css"),
    ".people,form{display:grid;grid-template-columns:minmax(0,1fr);gap:.6rem}",
    ".people button{width:100%;font-weight:600;text-align:start}",
    ".people small{display:block;color:var(--quiet);font-weight:400;overflow-wrap:anywhere}",
    "label{font-weight:600}",
    "p,code{overflow-wrap:anywhere}",
);

/// Makes an HTML page without scripts. `body` must be safe HTML, because it is not escaped.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>{STYLE}</style>\n</head>\n<body class=\"single\">\n<main class=\"card\">\n{body}\n</main>\n</body>\n</html>\n",
        escape(title)
    );
    let mut response = respond(status, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        ),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(crate) fn b64url(data: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(data)
}

pub(crate) fn unb64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

pub(crate) fn b64(data: impl AsRef<[u8]>) -> String {
    STANDARD.encode(data)
}

pub(crate) fn unb64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Returns the base64url of the SHA-256 of `text` (PKCE's S256).
pub(crate) fn s256(text: &str) -> String {
    b64url(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}
