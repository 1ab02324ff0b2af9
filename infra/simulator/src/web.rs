//! Builds answers: JSON, HTML pages, redirects, escaping, base64 and base64url.

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

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#121c2d;--soft:#606b85;--line:#cacdd8;--paper:#fff;--ground:#f4f4f6;--accent:#0263e0}
@media (prefers-color-scheme:dark){:root{--ink:#f4f4f6;--soft:#aeb2c1;--line:#4b5671;--paper:#1f304c;--ground:#121c2d;--accent:#66b3ff}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{width:min(26rem,100vw - 2rem);margin:1rem 0;padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:12px}
h1{margin:0 0 .25rem;font-size:1.5rem}
p{margin:.25rem 0 1rem;color:var(--soft)}
form{margin:0}
.people{display:grid;gap:.5rem;margin:0 0 1.25rem;padding:0;list-style:none}
button{font:inherit;cursor:pointer;border-radius:8px;border:1px solid var(--line);background:transparent;color:inherit;padding:.65rem .9rem;width:100%;text-align:left}
button:hover{border-color:var(--accent)}
button:focus-visible,input:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
button small{display:block;color:var(--soft)}
button.primary{background:var(--accent);border-color:var(--accent);color:var(--paper);text-align:center;font-weight:600}
button.plain{border:0;text-align:center;color:var(--soft);text-decoration:underline}
label{display:block;font-weight:600;margin-bottom:.25rem}
input[type=text]{width:100%;font:inherit;padding:.6rem .75rem;border:1px solid var(--line);border-radius:8px;background:transparent;color:inherit;margin-bottom:.75rem}
[role=alert]{padding:.6rem .75rem;border-left:4px solid #d61f1f;background:color-mix(in srgb,#d61f1f 10%,transparent);color:inherit}
code{font-size:.9em;overflow-wrap:anywhere}
";

/// Makes an HTML page without scripts. `body` must be safe HTML, because it is not escaped.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
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
