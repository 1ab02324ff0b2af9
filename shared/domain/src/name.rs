//! Names of people: username, e-mail address and full name.
//!
//! Twilio accepts 1 to 256 characters for each. A username is **not** an e-mail address, even if a company uses the
//! same text for both. The username is the key that identifies a user in Flex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// The longest name that Twilio accepts, in characters.
pub const MAX_CHARS: usize = 256;

/// Why a string is not a valid name. The error never contains the string itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than [`MAX_CHARS`].
    #[error("must have 1 to 256 characters")]
    Length,
    /// Starts or ends with white space.
    #[error("must not start or end with white space")]
    Padding,
    /// Holds a control character.
    #[error("must not contain control characters")]
    Control,
    /// Not of the form `local@domain`.
    #[error("must be an e-mail address, like ada@example.com")]
    Email,
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.chars().nth(MAX_CHARS).is_some() {
        return Err(NameError::Length);
    }
    if text.trim() != text {
        return Err(NameError::Padding);
    }
    // Zero-width characters and bidirectional overrides are invisible, so two different names could look the same.
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if text.chars().any(invisible) {
        return Err(NameError::Control);
    }
    Ok(())
}

fn check_email(text: &str) -> Result<(), NameError> {
    check(text)?;
    match text.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(())
        }
        _ => Err(NameError::Email),
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident by $check:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text, as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// Names are personal data, so `Debug` prints only the type. A log line that prints one by accident does not
        /// reveal it.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

names! {
    /// The key that identifies a user in Flex. Comparison is exact: `Ada` is not `ada`.
    Username by check;
    /// An e-mail address. Flexgate never identifies a person by it.
    Email by check_email;
    /// A person's full name, as colleagues see it.
    FullName by check;
}

/// Normalizes a text for comparisons that ignore case and Unicode composition: NFC in lower case.
#[must_use]
pub fn folded(text: &str) -> String {
    // Lower-casing can decompose a character, such as the Turkish capital I with a dot. So NFC is applied again
    // afterwards.
    text.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// The key under which the ledger stores a username. Spellings that differ only in case or Unicode composition have the
/// same key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsernameKey(Box<str>);

impl UsernameKey {
    /// The key's text. Like the username, it is personal data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UsernameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UsernameKey(…)")
    }
}

impl Username {
    /// The key of this username.
    #[must_use]
    pub fn key(&self) -> UsernameKey {
        UsernameKey(folded(&self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r54_spellings_of_one_name_have_one_key() {
        let key = |text: &str| text.parse::<Username>().unwrap().key();
        assert_eq!(key("Jos\u{e9}"), key("JOSE\u{301}"));
        assert_ne!(key("jose"), key("jos\u{e9}"));
    }

    proptest! {
        #[test]
        fn a_name_that_parses_is_printed_as_it_was(text in any::<String>()) {
            if let Ok(name) = text.parse::<Username>() {
                prop_assert_eq!(name.as_str(), text.as_str());
                prop_assert!((1..=MAX_CHARS).contains(&text.chars().count()));
                prop_assert!(!text.chars().any(char::is_control));
            }
        }

        #[test]
        fn plain_names_of_any_script_are_taken(text in r"[\p{L}\p{N}]{1,256}") {
            prop_assert!(text.parse::<Username>().is_ok());
            prop_assert!(text.parse::<FullName>().is_ok());
        }

        #[test]
        fn debug_never_shows_the_name(text in "[a-z]{9,30}") {
            let name: Email = format!("{text}@example.com").parse().unwrap();
            let debug = format!("{name:?}");
            prop_assert!(!debug.contains(&text));
        }
    }

    #[test]
    fn look_alikes_and_padding_are_refused() {
        for (text, error) in [
            ("", NameError::Length),
            (" ada", NameError::Padding),
            ("ada\n", NameError::Padding),
            ("a\u{0}da", NameError::Control),
            ("ad\u{202e}a", NameError::Control),
            ("ad\u{200b}a", NameError::Control),
        ] {
            assert_eq!(text.parse::<Username>(), Err(error), "{text:?}");
        }
        for text in ["ada", "@example.com", "ada@", "a da@example.com"] {
            assert_eq!(text.parse::<Email>(), Err(NameError::Email), "{text:?}");
        }
    }
}
