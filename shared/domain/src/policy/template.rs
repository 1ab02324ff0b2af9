//! Builds a Flex username from the claims of a token.

use std::fmt;
use std::str::FromStr;

use crate::Username;

/// A template for usernames with claims in braces: `{preferred_username}`, `{tid}.{oid}`, `{sub}@example.com`.
///
/// Different claim values never give the same username. So a separator must stand between two claims, and
/// [`UsernameTemplate::render`] refuses a claim value that contains a character of a separator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsernameTemplate {
    before: Box<str>,
    claims: Vec<Placeholder>,
}

/// A claim in the template, and the literal text after it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placeholder {
    claim: Box<str>,
    after: Box<str>,
}

/// Why a string is not a valid template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template names no claim, so every caller would get the same username.
    #[error("must name at least one claim in braces, like {{preferred_username}}")]
    Constant,
    /// A brace is unmatched, or a pair of braces is empty.
    #[error("must have a claim's name between every {{ and its }}")]
    Braces,
    /// No separator stands between two claims, so different claim values could give the same username.
    #[error("must have a text between two claims, like {{tid}}.{{oid}}")]
    Touching,
}

impl UsernameTemplate {
    /// Makes a template of one claim without literal text.
    #[must_use]
    pub fn of_claim(claim: &str) -> Self {
        Self { before: "".into(), claims: vec![Placeholder { claim: claim.into(), after: "".into() }] }
    }

    /// Fills in the claims that `value_of` returns. Returns `None` if a claim is missing or empty, if a value
    /// contains a character of a separator, or if the result is not a valid username.
    pub fn render(&self, value_of: impl Fn(&str) -> Option<String>) -> Option<Username> {
        let separators: String = self.separators().collect();
        let mut text = self.before.to_string();
        for Placeholder { claim, after } in &self.claims {
            let value = value_of(claim)?;
            if value.is_empty() || value.contains(|c| separators.contains(c)) {
                return None;
            }
            text.push_str(&value);
            text.push_str(after);
        }
        text.parse().ok()
    }

    /// The names of the claims in the template.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(|placeholder| &*placeholder.claim)
    }

    fn separators(&self) -> impl Iterator<Item = &str> {
        let between = self.claims.len().saturating_sub(1);
        self.claims.iter().take(between).map(|placeholder| &*placeholder.after)
    }
}

impl FromStr for UsernameTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = text.split('{');
        let before = pieces.next().unwrap_or_default();
        if before.contains('}') {
            return Err(TemplateError::Braces);
        }
        let placeholder = |piece: &str| match piece.split_once('}') {
            Some((claim, after)) if !claim.trim().is_empty() && !after.contains('}') => {
                Ok(Placeholder { claim: claim.into(), after: after.into() })
            }
            _ => Err(TemplateError::Braces),
        };
        let claims = pieces.map(placeholder).collect::<Result<Vec<_>, _>>()?;
        let template = Self { before: before.into(), claims };
        if template.claims.is_empty() {
            return Err(TemplateError::Constant);
        }
        if template.separators().any(str::is_empty) { Err(TemplateError::Touching) } else { Ok(template) }
    }
}

impl fmt::Display for UsernameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        self.claims.iter().try_for_each(|Placeholder { claim, after }| write!(f, "{{{claim}}}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(template: &str, claims: &[(&str, &str)]) -> Option<String> {
        let template: UsernameTemplate = template.parse().unwrap();
        let value_of =
            |name: &str| claims.iter().find(|(claim, _)| *claim == name).map(|(_, value)| (*value).to_owned());
        template.render(value_of).map(|username| username.as_str().to_owned())
    }

    #[test]
    fn a_template_names_its_claims() {
        let template: UsernameTemplate = "x-{tid}.{oid}@example.com".parse().unwrap();
        assert_eq!(template.claims().collect::<Vec<_>>(), ["tid", "oid"]);
        assert_eq!(UsernameTemplate::of_claim("sub").claims().collect::<Vec<_>>(), ["sub"]);
    }

    #[test]
    fn what_is_no_template_is_named() {
        for (text, error) in [
            ("", TemplateError::Constant),
            ("everybody", TemplateError::Constant),
            ("{", TemplateError::Braces),
            ("}", TemplateError::Braces),
            ("{}", TemplateError::Braces),
            ("{ }", TemplateError::Braces),
            ("{a", TemplateError::Braces),
            ("{a}}", TemplateError::Braces),
            ("a}{b}", TemplateError::Braces),
            ("{a{b}}", TemplateError::Braces),
            ("{a}{b}", TemplateError::Touching),
        ] {
            assert_eq!(text.parse::<UsernameTemplate>(), Err(error), "{text}");
        }
    }

    #[test]
    fn claims_are_put_in_their_places() {
        let claims = [("tid", "t-1"), ("oid", "o-2"), ("empty", ""), ("dotted", "a.b"), ("padded", " ada")];
        for (template, expected) in [
            ("{oid}", Some("o-2")),
            ("{tid}.{oid}", Some("t-1.o-2")),
            ("flex-{oid}@example.com", Some("flex-o-2@example.com")),
            ("{dotted}@example.com", Some("a.b@example.com")),
            // The value contains the separator, so nobody could tell where the first claim ends.
            ("{dotted}.{oid}", None),
            ("{oid}.{dotted}", None),
            ("{missing}", None),
            ("x{missing}", None),
            ("x{empty}", None),
            ("{padded}", None),
        ] {
            assert_eq!(rendered(template, &claims).as_deref(), expected, "{template}");
        }
    }

    proptest! {
        #[test]
        fn two_people_never_share_a_username(
            separator in "[.@_-]{1,2}", one in ["[a-c.@_-]{1,4}", "[a-c.@_-]{1,4}"], two in ["[a-c.@_-]{1,4}", "[a-c.@_-]{1,4}"]
        ) {
            let template = format!("{{x}}{separator}{{y}}");
            let of = |person: &[String; 2]| rendered(&template, &[("x", &person[0]), ("y", &person[1])]);
            if let (Some(first), Some(second)) = (of(&one), of(&two)) {
                prop_assert_eq!(first == second, one == two);
            }
        }

        #[test]
        fn a_template_is_printed_as_it_was_written(text in "[a-z{}.]{0,12}") {
            if let Ok(template) = text.parse::<UsernameTemplate>() {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
