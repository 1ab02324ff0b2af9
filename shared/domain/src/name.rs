//! Names of people: username, e-mail address and full name.
//!
//! Twilio accepts 1 to 256 characters for each of these names. The username identifies a user in Flex. It is **not**
//! an e-mail address, even if it looks like one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// The longest name that Twilio accepts, in characters.
pub const MAX_CHARS: usize = 256;

/// Why a string is not a valid name. The error never contains the string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty, or longer than [`MAX_CHARS`].
    #[error("must have 1 to 256 characters")]
    Length,
    /// The name starts or ends with white space.
    #[error("must not start or end with white space")]
    Padding,
    /// The name contains a control character or another invisible character.
    #[error("must not contain the character {character} (position {position})")]
    Character {
        /// The invisible character.
        character: Unseen,
        /// The character's position, counted in characters from 1.
        position: usize,
    },
    /// The text does not have the form `local@domain`.
    #[error("must be an e-mail address, like ada@example.com")]
    Email,
}

/// An invisible character. It is printed as its code point and, for common characters, its Unicode name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unseen(char);

impl Unseen {
    /// Returns an invisible character as [`Unseen`], and `None` for a visible one. Invisible characters can make two
    /// different names look the same.
    fn of(c: char) -> Option<Self> {
        let is_unseen = c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        is_unseen.then_some(Self(c))
    }

    /// Whether this is a zero-width joiner or non-joiner. Persian and several Indian scripts need these two
    /// characters.
    fn is_joiner(self) -> bool {
        matches!(self.0, '\u{200c}' | '\u{200d}')
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            '\t' => " TAB",
            '\n' => " LINE FEED",
            '\r' => " CARRIAGE RETURN",
            '\u{61c}' => " ARABIC LETTER MARK",
            '\u{200b}' => " ZERO WIDTH SPACE",
            '\u{200c}' => " ZERO WIDTH NON-JOINER",
            '\u{200d}' => " ZERO WIDTH JOINER",
            '\u{200e}' => " LEFT-TO-RIGHT MARK",
            '\u{200f}' => " RIGHT-TO-LEFT MARK",
            '\u{202a}' => " LEFT-TO-RIGHT EMBEDDING",
            '\u{202b}' => " RIGHT-TO-LEFT EMBEDDING",
            '\u{202c}' => " POP DIRECTIONAL FORMATTING",
            '\u{202d}' => " LEFT-TO-RIGHT OVERRIDE",
            '\u{202e}' => " RIGHT-TO-LEFT OVERRIDE",
            '\u{2066}' => " LEFT-TO-RIGHT ISOLATE",
            '\u{2067}' => " RIGHT-TO-LEFT ISOLATE",
            '\u{2068}' => " FIRST STRONG ISOLATE",
            '\u{2069}' => " POP DIRECTIONAL ISOLATE",
            '\u{feff}' => " BYTE ORDER MARK",
            _ => "",
        };
        write!(f, "U+{:04X}{name}", u32::from(self.0))
    }
}

/// Refuses a string with an invisible character, unless `allowed` accepts that character.
pub fn check_seen(text: &str, allowed: impl Fn(Unseen) -> bool) -> Result<(), NameError> {
    let unseen = (1..)
        .zip(text.chars())
        .find_map(|(position, c)| Some((position, Unseen::of(c)?)).filter(|(_, c)| !allowed(*c)));
    unseen.map_or(Ok(()), |(position, character)| Err(NameError::Character { character, position }))
}

fn check_length(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.chars().nth(MAX_CHARS).is_some() {
        return Err(NameError::Length);
    }
    if text.trim() == text { Ok(()) } else { Err(NameError::Padding) }
}

fn check(text: &str) -> Result<(), NameError> {
    check_length(text)?;
    check_seen(text, |_| false)
}

/// Checks a full name. A full name may contain zero-width joiners and non-joiners, because it never identifies a
/// person.
fn check_full_name(text: &str) -> Result<(), NameError> {
    check_length(text)?;
    check_seen(text, Unseen::is_joiner)
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
            /// Returns the text unchanged.
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

        /// Prints only the type, because a name is personal data that must not get into a log by accident.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

names! {
    /// A username, which identifies a user in Flex. Comparison is exact: `Ada` is not `ada`.
    Username by check;
    /// An e-mail address. It never identifies a person.
    Email by check_email;
    /// A person's full name, as colleagues see it.
    FullName by check_full_name;
}

impl FullName {
    /// Joins the given name and the family name with a space. Returns one name unchanged if the other is missing.
    /// Returns `None` if both are missing or the result is longer than [`MAX_CHARS`].
    #[must_use]
    pub fn joined(given: Option<&Self>, family: Option<&Self>) -> Option<Self> {
        match (given, family) {
            (Some(given), Some(family)) => format!("{given} {family}").parse().ok(),
            (one, other) => one.or(other).cloned(),
        }
    }
}

/// Returns the text in lower case and in NFC (composed Unicode). Use the result for comparisons that ignore case and
/// Unicode composition.
#[must_use]
pub fn folded(text: &str) -> String {
    // Lower-casing can decompose a character, such as the Turkish capital I with a dot. So NFC is applied twice.
    text.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// The key under which the ledger stores a username. Spellings that differ only in case or Unicode composition have
/// the same key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsernameKey(Box<str>);

impl UsernameKey {
    /// Returns the key's text. This text is personal data, like the username.
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
    /// Returns the key of this username.
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
        assert_eq!(key("JOSE\u{301}").as_str(), "jos\u{e9}");
        assert_eq!(format!("{:?}", key("ada")), "UsernameKey(…)", "the key is as personal as the name");
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
    fn a_character_that_nobody_sees_is_named_with_its_position() {
        for (text, said) in [
            ("a\u{0}da", "must not contain the character U+0000 (position 2)"),
            ("ad\u{202e}a", "must not contain the character U+202E RIGHT-TO-LEFT OVERRIDE (position 3)"),
            ("Jos\u{e9}\u{200b}", "must not contain the character U+200B ZERO WIDTH SPACE (position 5)"),
            ("\u{2067}ada", "must not contain the character U+2067 RIGHT-TO-LEFT ISOLATE (position 1)"),
            ("a\u{61c}da", "must not contain the character U+061C ARABIC LETTER MARK (position 2)"),
            ("a\tda", "must not contain the character U+0009 TAB (position 2)"),
            ("a\nda", "must not contain the character U+000A LINE FEED (position 2)"),
            ("a\rda", "must not contain the character U+000D CARRIAGE RETURN (position 2)"),
            ("a\u{200e}da", "must not contain the character U+200E LEFT-TO-RIGHT MARK (position 2)"),
            ("a\u{200f}da", "must not contain the character U+200F RIGHT-TO-LEFT MARK (position 2)"),
            ("a\u{202a}da", "must not contain the character U+202A LEFT-TO-RIGHT EMBEDDING (position 2)"),
            ("a\u{202b}da", "must not contain the character U+202B RIGHT-TO-LEFT EMBEDDING (position 2)"),
            ("a\u{202c}da", "must not contain the character U+202C POP DIRECTIONAL FORMATTING (position 2)"),
            ("a\u{202d}da", "must not contain the character U+202D LEFT-TO-RIGHT OVERRIDE (position 2)"),
            ("a\u{2066}da", "must not contain the character U+2066 LEFT-TO-RIGHT ISOLATE (position 2)"),
            ("a\u{2068}da", "must not contain the character U+2068 FIRST STRONG ISOLATE (position 2)"),
            ("a\u{2069}da", "must not contain the character U+2069 POP DIRECTIONAL ISOLATE (position 2)"),
            ("a\u{feff}da", "must not contain the character U+FEFF BYTE ORDER MARK (position 2)"),
        ] {
            assert_eq!(text.parse::<Username>().unwrap_err().to_string(), said);
            assert_eq!(text.parse::<FullName>().unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn joiners_belong_to_a_full_name_and_to_no_username() {
        // The Persian "Mirzayi" needs a zero-width non-joiner, and the Sinhala "Sri" needs a zero-width joiner.
        for text in
            ["\u{645}\u{6cc}\u{631}\u{632}\u{627}\u{200c}\u{6cc}\u{6cc}", "\u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}"]
        {
            assert_eq!(text.parse::<FullName>().unwrap().as_str(), text);
            assert!(matches!(text.parse::<Username>(), Err(NameError::Character { .. })), "{text}");
        }
        for (text, said) in [("a\u{200c}b", "U+200C ZERO WIDTH NON-JOINER"), ("a\u{200d}b", "U+200D ZERO WIDTH JOINER")]
        {
            assert!(text.parse::<Username>().unwrap_err().to_string().contains(said));
        }
    }

    #[test]
    fn a_full_name_is_joined_from_its_parts() {
        let (ada, king): (FullName, FullName) = ("Ada".parse().unwrap(), "King".parse().unwrap());
        assert_eq!(FullName::joined(Some(&ada), Some(&king)).unwrap().as_str(), "Ada King");
        assert_eq!(FullName::joined(None, Some(&king)), Some(king));
        assert_eq!(FullName::joined(Some(&ada), None), Some(ada));
        assert_eq!(FullName::joined(None, None), None);
    }

    #[test]
    fn look_alikes_and_padding_are_refused() {
        for (text, error) in [("", NameError::Length), (" ada", NameError::Padding), ("ada\n", NameError::Padding)] {
            assert_eq!(text.parse::<Username>(), Err(error), "{text:?}");
        }
        for text in ["ada", "@example.com", "ada@", "a da@example.com"] {
            assert_eq!(text.parse::<Email>(), Err(NameError::Email), "{text:?}");
        }
    }
}
