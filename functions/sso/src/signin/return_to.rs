//! Return addresses: the URLs and paths to which a browser can go after sign-in.

use url::Url;

/// The maximum length of an address, in bytes.
const MAX_LENGTH: usize = 2_048;

/// A return address, percent-encoded. It is a path on Flexgate's own origin, or a whole URL on another listed origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(Box<str>);

/// The address is not allowed, or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a path like /desk, or a URL on the public URL's origin or on one of FLEXGATE_ALLOWED_ORIGINS")]
pub struct ReturnToError;

impl ReturnTo {
    /// The address, for the header `Location`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The origins to which a browser can go after sign-in.
#[derive(Debug, Clone)]
pub struct Destinations {
    own: Url,
    others: Vec<Url>,
    default: ReturnTo,
}

impl Destinations {
    /// Creates the list of origins: Flexgate's own origin and `others`. The default address is `/` on Flexgate's own
    /// origin.
    #[must_use]
    pub fn new(own: &Url, others: &[Url]) -> Self {
        Self { own: own.clone(), others: others.to_vec(), default: ReturnTo("/".into()) }
    }

    /// Returns the same origins with a different default address.
    #[must_use]
    pub fn with_default(self, default: ReturnTo) -> Self {
        Self { default, ..self }
    }

    /// Returns the default address, for a login without a return address.
    #[must_use]
    pub fn default(&self) -> &ReturnTo {
        &self.default
    }

    /// Parses an untrusted `return_to` according to the rules of browsers (WHATWG URL).
    ///
    /// Refuses an address on an unlisted origin. Also refuses ambiguous text: `//` at the start, control characters, a
    /// user name, and `\` or white space before the query.
    pub fn parse(&self, unverified: &str) -> Result<ReturnTo, ReturnToError> {
        let before_query = unverified.split(['?', '#']).next().unwrap_or_default();
        let is_odd = |c: char| c == '\\' || c.is_whitespace();
        if unverified.chars().any(char::is_control) || before_query.chars().any(is_odd) {
            return Err(ReturnToError);
        }
        let resolved = if unverified.starts_with('/') && !unverified.starts_with("//") {
            self.own.join(unverified)
        } else {
            let (scheme, rest) = unverified.split_once("://").ok_or(ReturnToError)?;
            if !["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
                return Err(ReturnToError);
            }
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if authority.is_empty() || authority.contains('@') {
                return Err(ReturnToError);
            }
            Url::parse(unverified)
        };
        let resolved = resolved.map_err(|_| ReturnToError)?;
        let has_user = !resolved.username().is_empty() || resolved.password().is_some();
        let text = if has_user {
            return Err(ReturnToError);
        } else if resolved.origin() == self.own.origin() {
            path_of(&resolved)
        } else if self.others.iter().any(|other| other.origin() == resolved.origin()) {
            resolved.into()
        } else {
            return Err(ReturnToError);
        };
        // Refuse a path such as `//evil.example`. In a `Location` header, a browser would use `evil.example` as the
        // host.
        if text.starts_with("//") || text.len() > MAX_LENGTH {
            return Err(ReturnToError);
        }
        Ok(ReturnTo(text.into()))
    }
}

/// Returns the path, query and fragment of a URL.
fn path_of(url: &Url) -> String {
    url[url::Position::BeforePath..].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn destinations() -> Destinations {
        let url = |text: &str| text.parse::<Url>().unwrap();
        Destinations::new(&url("https://gate.example"), &[url("https://desk.example"), url("http://localhost:3000")])
    }

    /// Whether a redirect from the callback to this address leads to a listed origin.
    fn stays(address: &ReturnTo) -> bool {
        let callback = Url::parse("https://gate.example/sso/default/callback?code=1").unwrap();
        let origin = callback.join(address.as_str()).unwrap().origin().ascii_serialization();
        ["https://gate.example", "https://desk.example", "http://localhost:3000"].contains(&origin.as_str())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn no_string_at_all_leaves_the_listed_origins(text in any::<String>()) {
            if let Ok(address) = destinations().parse(&text) {
                prop_assert!(stays(&address), "{:?}", address);
            }
        }

        #[test]
        fn no_string_of_dangerous_pieces_leaves_the_listed_origins(
            pieces in proptest::collection::vec(prop::sample::select(vec![
                "/", "//", "\\", "..", ".", "@", ":", "evil.example", "https:", "https://", "javascript:", "%2f", "%5c",
                "%09", "\t", "\n", " ", "?", "#", "\u{0}", "。", "／", "app", ";", "[", "]", "%00", "data:", "http://",
                "desk.example", "https://desk.example", "localhost:3000", "gate.example", ".evil.example", ":80", "%40",
            ]), 0..8)
        ) {
            let text = pieces.concat();
            if let Ok(address) = destinations().parse(&text) {
                prop_assert!(stays(&address), "{:?} of {:?}", address, text);
                prop_assert!(address.as_str().bytes().all(|b| (0x21..0x7f).contains(&b)), "{:?}", address);
                prop_assert!(!address.as_str().starts_with("//"));
            }
        }
    }

    #[test]
    fn paths_and_listed_urls_are_kept_and_tricks_are_refused() {
        let destinations = destinations();
        for address in ["/", "/desk", "/desk?queue=1&x=%2F#top", "/d%C3%A9sk", "https://desk.example/a?b=c#d"] {
            assert_eq!(destinations.parse(address).unwrap().as_str(), address);
        }
        for (address, kept) in [
            ("https://gate.example/desk?a=b", "/desk?a=b"),
            ("https://gate.example:443", "/"),
            ("https://desk.example", "https://desk.example/"),
            ("HTTPS://Desk.Example/A", "https://desk.example/A"),
            ("http://localhost:3000/x", "http://localhost:3000/x"),
            ("/desk?path=C:\\calls", "/desk?path=C:\\calls"),
            ("/desk?name=Ada Lovelace", "/desk?name=Ada%20Lovelace"),
            ("/desk?q=\u{2028}é", "/desk?q=%E2%80%A8%C3%A9"),
        ] {
            assert_eq!(destinations.parse(address).unwrap().as_str(), kept, "{address}");
        }
        for trick in [
            "",
            "desk",
            "https://evil.example",
            "//evil.example",
            "//gate.example/x",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            " /desk",
            "/\n/evil.example",
            "javascript:alert(1)",
            "https://app@evil.example",
            "https://desk.example@evil.example",
            "https://@desk.example",
            "https://user:password@desk.example",
            "https:desk.example",
            "https:/desk.example",
            "https:///desk.example/x",
            "http://desk.example",
            "https://desk.example.evil.example",
            "https://desk.example:8443",
            "https://desk.example\\@evil.example",
            "https://desk.example／@evil.example",
            "https://gate.example//evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/x/../..//evil.example",
            "/\u{2028}/evil",
        ] {
            assert_eq!(destinations.parse(trick), Err(ReturnToError), "{trick:?}");
        }
        assert!(destinations.parse(&format!("/{}", "x".repeat(2_047))).is_ok());
        assert!(destinations.parse(&format!("/{}", "x".repeat(2_048))).is_err());
    }
}
