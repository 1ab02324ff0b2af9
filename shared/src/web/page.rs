//! The HTML page for a person instead of a problem document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::problem::Problem;

/// The page's style. It sets all colours itself, so that the contrast is known in the light and the dark theme.
const STYLE: &str = "\
:root{color-scheme:light dark;background:#f3f3f8;color:#17172b;font:16px/1.5 system-ui,sans-serif}\
body{margin:0;min-height:100vh;display:grid;place-items:center}\
main{box-sizing:border-box;width:100%;max-width:34rem;padding:2rem}\
h1{font-size:1.4rem;line-height:1.25}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;font-size:.9rem}\
dd{margin:0;overflow-wrap:anywhere;font-family:ui-monospace,monospace}\
a{color:#4b48c8}\
@media(prefers-color-scheme:dark){:root{background:#101019;color:#eeeef8}a{color:#a6a3ff}}";

/// Renders the page. Escapes every inserted value.
pub(super) fn render(problem: &Problem, request_id: &str) -> String {
    let parts = problem.parts();
    let link = parts.link.as_ref().map(|link| format!("<p><a href=\"{}\">{}</a></p>", escape(&link.url), link.text));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>\
         <h1>{title}</h1><p>{detail}</p>{link}\
         <p>If this happens again, give these to your administrator:</p>\
         <dl><dt>Code</dt><dd>{code}</dd><dt>Request</dt><dd>{request_id}</dd></dl></main></body></html>",
        title = escape(parts.kind.title),
        detail = escape(&parts.detail),
        link = link.unwrap_or_default(),
        code = escape(parts.kind.code),
        request_id = escape(request_id),
    )
}

/// The HTML page's content security policy. It allows the page's own style, and forbids scripts, forms and frames.
pub(super) fn content_security_policy() -> String {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
