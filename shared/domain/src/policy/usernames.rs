//! Patterns with `*` for the usernames that an issuer's tokens may contain.

use std::fmt;
use std::str::FromStr;

use crate::name::{MAX_CHARS, check_seen};
use crate::{Username, folded};

/// Special characters of regular expressions and other pattern languages. A pattern with one of them is probably a
/// mistake.
const FOREIGN: [char; 10] = ['?', '[', ']', '{', '}', '(', ')', '|', '^', '$'];

/// A pattern of usernames, such as `*@partner.example`. Each `*` matches any text, including no text. All other text
/// must be the same in the username, apart from case and Unicode composition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsernamePattern {
    /// The pattern as in the settings.
    text: Box<str>,
    /// The literal parts of the pattern: before, between and after the stars.
    pieces: Vec<Box<str>>,
}

/// The text is not a valid pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, or longer than a username.
    #[error("must have 1 to 256 characters")]
    Length,
    /// Only stars, which would match every username.
    #[error("must have text beside the *, because every username would match")]
    Everything,
    /// Two stars in a row.
    #[error("must not have two * in a row")]
    Stars,
    /// A character of another pattern language.
    #[error("must not contain {0}: a pattern is plain text and *, not a regular expression")]
    Foreign(char),
    /// The pattern starts or ends with white space, or contains an invisible character. This is probably a mistake.
    #[error("must not contain invisible characters, nor start or end with white space")]
    Invisible,
}

impl UsernamePattern {
    /// Whether the username matches.
    #[must_use]
    pub fn matches(&self, username: &Username) -> bool {
        let folded = folded(username.as_str());
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return folded == **first };
        let Some(mut remaining) = folded.strip_prefix(&**first) else { return false };
        for piece in middle {
            // Use the leftmost match, which leaves the most text for the remaining pieces.
            let Some((_, after)) = remaining.split_once(&**piece) else { return false };
            remaining = after;
        }
        remaining.ends_with(&**last)
    }
}

impl FromStr for UsernamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.chars().nth(MAX_CHARS).is_some() {
            return Err(PatternError::Length);
        }
        if text.trim() != text || check_seen(text, |_| false).is_err() {
            return Err(PatternError::Invisible);
        }
        // A backslash alone is allowed, because usernames may contain one, such as `CORP\ada`. But `\.` is probably
        // part of a regular expression.
        let escape = text.contains("\\.").then_some('\\');
        if let Some(foreign) = text.chars().find(|c| FOREIGN.contains(c)).or(escape) {
            return Err(PatternError::Foreign(foreign));
        }
        if text.contains("**") {
            return Err(PatternError::Stars);
        }
        if text == "*" {
            return Err(PatternError::Everything);
        }
        Ok(Self { text: text.into(), pieces: folded(text).split('*').map(Into::into).collect() })
    }
}

impl fmt::Display for UsernamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, username: &str) -> bool {
        pattern.parse::<UsernamePattern>().unwrap().matches(&username.parse().unwrap())
    }

    #[test]
    fn a_malformed_pattern_is_named() {
        for (text, error) in [
            ("", PatternError::Length),
            ("*", PatternError::Everything),
            ("**", PatternError::Stars),
            ("a**b", PatternError::Stars),
            ("^ada$", PatternError::Foreign('^')),
            (r".*@partner\.example", PatternError::Foreign('\\')),
            ("ad?", PatternError::Foreign('?')),
            ("[ab]*", PatternError::Foreign('[')),
            ("{sub}", PatternError::Foreign('{')),
            ("a|b", PatternError::Foreign('|')),
            (" *@partner.example", PatternError::Invisible),
            ("a\u{200b}*", PatternError::Invisible),
        ] {
            assert_eq!(text.parse::<UsernamePattern>(), Err(error), "{text}");
        }
        assert_eq!("x".repeat(257).parse::<UsernamePattern>(), Err(PatternError::Length));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, username, expected) in [
            ("*@partner.example", "ada@partner.example", true),
            ("*@partner.example", "ADA@Partner.Example", true),
            ("*@partner.example", "ada@partner.example.evil.example", false),
            ("*@partner.example", "ada@notpartner.example", false),
            ("*@partner.example", "ada@partnerxexample", false),
            ("partner-*", "partner-ada", true),
            ("partner-*", "partner-", true),
            ("partner-*", "xpartner-ada", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("CORP\\*", "corp\\ada", true),
            ("ada", "ada", true),
            ("ada", "Ada", true),
            ("ada", "adam", false),
            ("*jos\u{e9}*", "x-JOSE\u{301}-y", true),
        ] {
            assert_eq!(matches(pattern, username), expected, "{pattern} {username}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_is_put_for_its_stars(
            pieces in proptest::collection::vec("[a-c@.]{1,3}", 1..4), fill in "[a-c@.]{0,4}"
        ) {
            let pattern: UsernamePattern = pieces.join("*").parse().unwrap();
            prop_assert_eq!(pattern.to_string(), pieces.join("*"));
            prop_assert!(pattern.matches(&pieces.join(&fill).parse().unwrap()));
        }

        #[test]
        fn a_pattern_matches_as_a_slow_search_does(pattern in "[ab*]{1,6}", username in "[ab]{1,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
                    Some((byte, rest)) => text.split_first().is_some_and(|(b, text)| b == byte && slow(rest, text)),
                }
            }
            if let Ok(parsed) = pattern.parse::<UsernamePattern>() {
                prop_assert_eq!(
                    parsed.matches(&username.parse().unwrap()),
                    slow(pattern.as_bytes(), username.as_bytes())
                );
            }
        }
    }
}
