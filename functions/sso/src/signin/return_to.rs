//! The address to which the browser goes after sign-in. It is always a path on Flexgate's own origin.

use std::fmt;

use url::Url;

/// The maximum length of the path, in bytes. Five such paths must fit into one cookie.
const MAX_LENGTH: usize = 300;

/// A path, query and fragment on Flexgate's own origin. It is percent-encoded and begins with exactly one slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(Box<str>);

/// The text is not an acceptable path on Flexgate's own origin, or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a path on this origin, like /desk")]
pub struct ReturnToError;

impl ReturnTo {
    /// Parses an untrusted `return_to` in the way a browser on `origin` would.
    ///
    /// Resolves the text by the rules that browsers use (WHATWG URL), and keeps the path, query and fragment of the
    /// result. Refuses text that resolves to another origin. Also refuses text that other parsers may read differently:
    /// `\`, `//` at the start, control characters and white space.
    pub fn parse(unverified: &str, origin: &Url) -> Result<Self, ReturnToError> {
        let plain = unverified.starts_with('/')
            && !unverified.starts_with("//")
            && !unverified.contains('\\')
            && !unverified.chars().any(|c| c.is_control() || c.is_whitespace());
        if !plain {
            return Err(ReturnToError);
        }
        let resolved = origin.join(unverified).map_err(|_| ReturnToError)?;
        if resolved.origin() != origin.origin() || !resolved.username().is_empty() || resolved.password().is_some() {
            return Err(ReturnToError);
        }
        let mut path = resolved.path().to_owned();
        if let Some(query) = resolved.query() {
            path.push('?');
            path.push_str(query);
        }
        if let Some(fragment) = resolved.fragment() {
            path.push('#');
            path.push_str(fragment);
        }
        // `/.//evil.example` resolves to the path `//evil.example`. In a `Location` header, a browser would take
        // `evil.example` for a host.
        if path.starts_with("//") || path.contains('\\') || path.len() > MAX_LENGTH {
            return Err(ReturnToError);
        }
        Ok(Self(path.into()))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The root.
impl Default for ReturnTo {
    fn default() -> Self {
        Self("/".into())
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Url {
        "https://gate.example/".parse().unwrap()
    }

    /// Returns the address to which a browser goes if the callback's response has the header `Location: {path}`.
    fn destination(path: &ReturnTo) -> Url {
        Url::parse("https://gate.example/sso/default/callback?code=1").unwrap().join(path.as_str()).unwrap()
    }

    proptest! {
        #[test]
        fn no_string_at_all_leaves_the_origin(text in any::<String>()) {
            if let Ok(path) = ReturnTo::parse(&text, &origin()) {
                prop_assert_eq!(destination(&path).origin(), origin().origin());
            }
        }

        #[test]
        fn no_string_of_dangerous_pieces_leaves_the_origin(
            pieces in proptest::collection::vec(prop::sample::select(vec![
                "/", "//", "\\", "..", ".", "@", ":", "evil.example", "https:", "javascript:", "%2f", "%5c", "%09",
                "\t", "\n", " ", "?", "#", "\u{0}", "。", "／", "app", ";", "[", "]", "%00", "data:",
            ]), 0..8)
        ) {
            let text = pieces.concat();
            if let Ok(path) = ReturnTo::parse(&text, &origin()) {
                prop_assert_eq!(destination(&path).origin(), origin().origin());
                prop_assert!(path.as_str().starts_with('/') && !path.as_str().starts_with("//"));
                prop_assert!(path.as_str().bytes().all(|b| (0x21..0x7f).contains(&b)), "{:?}", path);
            }
        }
    }

    #[test]
    fn paths_are_kept_and_tricks_are_refused() {
        for path in ["/", "/desk", "/desk?queue=1&x=%2F#top", "/d%C3%A9sk"] {
            assert_eq!(ReturnTo::parse(path, &origin()).unwrap().as_str(), path);
        }
        for trick in [
            "",
            "desk",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            " /desk",
            "/\n/evil.example",
            "javascript:alert(1)",
            "https://app@evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/x/../..//evil.example",
            "/\u{2028}/evil",
        ] {
            assert_eq!(ReturnTo::parse(trick, &origin()), Err(ReturnToError), "{trick:?}");
        }
    }
}
