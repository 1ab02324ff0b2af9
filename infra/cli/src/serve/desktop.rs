//! Serves the agent desktop at `/`. The binary contains the files of `examples/agent-desktop`, and the built script and
//! the style sheet of `shared/web`. The build is committed, so that `cargo run` needs only Rust.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flexgate::web::{Path as UrlPath, Problem, kinds};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

/// The page's content security policy. It allows only scripts from Flexgate, and connections to Flexgate and Twilio.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self' https://*.twilio.com wss://*.twilio.com; media-src 'self' https://*.twilio.com blob:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("../../../../examples/agent-desktop/index.html")),
    ("/desktop.js", "text/javascript; charset=utf-8", include_str!("../../../../examples/agent-desktop/desktop.js")),
    ("/shift.js", "text/javascript; charset=utf-8", include_str!("../../../../examples/agent-desktop/shift.js")),
    ("/worker.js", "text/javascript; charset=utf-8", include_str!("../../../../examples/agent-desktop/worker.js")),
    ("/flexgate.js", "text/javascript; charset=utf-8", include_str!("../../../../shared/web/dist/index.js")),
    ("/design.css", "text/css; charset=utf-8", include_str!("../../../../shared/web/design.css")),
    ("/desktop.css", "text/css; charset=utf-8", include_str!("../../../../examples/agent-desktop/desktop.css")),
];

/// The folder of the Flex SDK, relative to the repository. The binary does not contain the SDK, because users must
/// accept Twilio's terms. They install it with `npm ci`.
const SDK: &str = "examples/agent-desktop/node_modules/@twilio/flex-sdk";

pub fn router() -> Router {
    let mut router = Router::new().route("/sdk/{file}", get(sdk));
    for (path, content_type, text) in FILES {
        router = router.route(path, get(move || async move { file(content_type, text.into()) }));
    }
    router
}

async fn sdk(UrlPath(name): UrlPath<String>) -> Response {
    let missing = || {
        let detail = "Run npm ci in examples/agent-desktop, and start flexgate from the repository's folder.";
        Problem::new(kinds::ROUTE_UNKNOWN, detail).into_response()
    };
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let script = Path::new(&name).extension().is_some_and(|extension| extension == "js");
    if !plain || !script {
        return missing();
    }
    let path = PathBuf::from(SDK).join(name);
    match tokio::task::spawn_blocking(move || std::fs::read(path)).await {
        Ok(Ok(bytes)) => file("text/javascript; charset=utf-8", bytes),
        _ => missing(),
    }
}

fn file(content_type: &'static str, bytes: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (StatusCode::OK, headers, bytes).into_response()
}
