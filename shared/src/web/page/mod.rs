//! The HTML page that a person sees instead of a problem document.
//!
//! Agents read this page, and most of them cannot change anything in Flexgate. So the page says what they can do. The
//! details for administrators are in a collapsed section.

mod settings;
mod words;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::page_words::{PageWords, Tone};
use super::problem::Problem;

pub use settings::PageSettings;

/// The page's style. It sets all colours itself, so that the contrast is known in the light and the dark theme.
const STYLE: &str = include_str!("../../../web/design.css");

/// Renders the page. Escapes every inserted value.
pub(super) fn render(problem: &Problem, request_id: &str, settings: &PageSettings) -> String {
    let parts = problem.parts();
    let words = parts.words.unwrap_or_else(|| words::of(parts.kind));
    let tone = match words.tone {
        Tone::Calm => "calm",
        Tone::Fault => "warn",
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body class=\"single\"><main class=\"card notice\" data-tone=\"{tone}\">{brand}\
         <h1 class=\"title\">{title}</h1><p>{text}{wait}</p>{actions}\
         <details><summary>Details for your administrator</summary><p>{detail}</p>\
         <dl class=\"facts ids\"><div><dt>Code</dt><dd>{code}</dd></div><div><dt>Request</dt><dd>{request_id}</dd></div></dl>\
         </details></main></body></html>",
        title = escape(words.title),
        text = escape(words.text),
        wait = wait(problem, words),
        brand = brand(settings),
        actions = actions(problem, words, settings),
        detail = escape(&parts.detail),
        code = escape(parts.kind.code),
        request_id = escape(request_id),
    )
}

fn brand(settings: &PageSettings) -> String {
    let name = settings.name.as_deref().map(|name| format!("<span>{}</span>", escape(name)));
    // The logo's alternative text is empty, because the logo is only decoration: the page names the company beside the
    // logo, or else says "Flex".
    let logo = settings.logo.as_ref().map(|url| format!("<img src=\"{}\" alt=\"\">", escape(url.as_str())));
    match (logo, name) {
        (None, None) => String::new(),
        (logo, name) => format!("<p class=\"brand\">{}{}</p>", logo.unwrap_or_default(), name.unwrap_or_default()),
    }
}

/// Returns a sentence that says how long the person should wait. Returns an empty string if the problem does not say
/// how long, or if loading the page again does not help.
fn wait(problem: &Problem, words: &PageWords) -> String {
    match problem.wait_seconds() {
        Some(1) if words.can_reload => " Try again in a second.".to_owned(),
        Some(seconds) if words.can_reload => format!(" Try again in {seconds} seconds."),
        _ => String::new(),
    }
}

/// Returns the links. The first link is the problem's own link. If the problem has no link, and another attempt may
/// help, the first link loads the page again. The last link leads to help, if a help link is configured.
fn actions(problem: &Problem, words: &PageWords, settings: &PageSettings) -> String {
    let mut links = String::new();
    if let Some(link) = &problem.parts().link {
        let _ = write!(links, "<a href=\"{}\">{}</a>", escape(&link.url), link.text);
    } else if words.can_reload {
        links.push_str("<a href=\"\">Try again</a>");
    }
    if let Some(help) = &settings.help {
        let _ = write!(links, "<a href=\"{}\">Get help</a>", escape(help.as_str()));
    }
    if links.is_empty() { links } else { format!("<p class=\"actions\">{links}</p>") }
}

/// The HTML page's content security policy. It allows the page's own style and the logo, and forbids everything else.
pub(super) fn content_security_policy(settings: &PageSettings) -> String {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let images = settings.logo.as_ref().map(|url| format!("img-src {}; ", url.origin().ascii_serialization()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; {}base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        images.unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::problem::kinds;

    #[test]
    fn r91_every_kind_of_problem_has_a_page_without_words_for_administrators() {
        for kind in kinds::ALL {
            let problem = Problem::new(kind, "Set FLEXGATE_SSO_PROFILES.");
            let page = render(&problem, "0123", &PageSettings::default());
            let (seen, details) = page.split_once("<details>").unwrap();
            for word in ["FLEXGATE", "Flexgate", "SSO", "SCIM", "upstream", "0123", kind.code] {
                let seen = seen.split_once("</style>").unwrap().1;
                assert!(!seen.contains(word), "{word}: {seen}");
            }
            assert!(
                details.contains(kind.code) && details.contains("FLEXGATE_SSO_PROFILES") && details.contains("0123")
            );
        }
    }

    #[test]
    fn r91_a_page_says_how_long_to_wait_and_offers_to_load_again_only_where_that_may_help() {
        let page = |kind, seconds| {
            let wait = Some(std::time::Duration::from_secs(seconds));
            render(&Problem::new(kind, "").retry_after(wait), "0123", &PageSettings::default())
        };
        let busy = page(kinds::TOO_MANY_REQUESTS, 30);
        assert!(busy.contains("Try again in 30 seconds.") && busy.contains("<a href=\"\">Try again</a>"), "{busy}");
        assert!(page(kinds::UNAVAILABLE, 1).contains("Try again in a second."));
        assert!(!page(kinds::LOGIN_REFUSED, 30).contains("Try again"));
    }
}
