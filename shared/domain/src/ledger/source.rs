//! The sources from which Flexgate learns about people.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::event::SourceName;

/// A source from which Flexgate learns about people. Its text form is, for example, `scim` or `webhook:okta`. The
/// store and [`Explanation`](super::Explanation) use this form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// SCIM's user resource.
    Scim,
    /// One SCIM group, identified by its SCIM `id`. A group states only roles.
    ScimGroup(Box<str>),
    /// The claims in the tokens of one issuer, identified by the `iss` in the settings.
    Claims(Box<str>),
    /// One webhook source, identified by its configured name.
    Webhook(SourceName),
    /// `POST /users` and `DELETE /users/{sid}`.
    Api,
    /// An operator at the command line, including imports from files.
    Operator,
}

/// The kinds of source. Their order here is the default priority for profile fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// [`Source::Scim`] and [`Source::ScimGroup`].
    Scim,
    /// [`Source::Claims`].
    Claims,
    /// [`Source::Webhook`].
    Webhook,
    /// [`Source::Api`].
    Api,
    /// [`Source::Operator`].
    Operator,
}

impl SourceKind {
    /// All kinds, in the default order of priority.
    pub const ALL: [Self; 5] = [Self::Scim, Self::Claims, Self::Webhook, Self::Api, Self::Operator];

    /// Returns the name of this kind in the settings and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scim => "scim",
            Self::Claims => "claims",
            Self::Webhook => "webhook",
            Self::Api => "api",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for SourceKind {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(SourceError)
    }
}

/// The text names no source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a source, like scim, scim-group:ID, claims:ISSUER, webhook:NAME, api or operator")]
pub struct SourceError;

impl Source {
    /// Returns the kind of this source.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Scim | Self::ScimGroup(_) => SourceKind::Scim,
            Self::Claims(_) => SourceKind::Claims,
            Self::Webhook(_) => SourceKind::Webhook,
            Self::Api => SourceKind::Api,
            Self::Operator => SourceKind::Operator,
        }
    }

    /// Whether this source can say that a person is active or inactive. SCIM groups and claims cannot.
    #[must_use]
    pub fn may_say_active(&self) -> bool {
        !matches!(self, Self::ScimGroup(_) | Self::Claims(_))
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            None if text == "scim" => Ok(Self::Scim),
            None if text == "api" => Ok(Self::Api),
            None if text == "operator" => Ok(Self::Operator),
            Some((_, "")) | None => Err(SourceError),
            Some(("scim-group", id)) => Ok(Self::ScimGroup(id.into())),
            Some(("claims", issuer)) => Ok(Self::Claims(issuer.into())),
            Some(("webhook", name)) => name.parse().map(Self::Webhook).map_err(|_| SourceError),
            Some(_) => Err(SourceError),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scim | Self::Api | Self::Operator => f.write_str(self.kind().as_str()),
            Self::ScimGroup(id) => write!(f, "scim-group:{id}"),
            Self::Claims(issuer) => write!(f, "claims:{issuer}"),
            Self::Webhook(name) => write!(f, "webhook:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_source_is_read_as_it_was_written() {
        for text in ["scim", "scim-group:g-1", "claims:https://idp.example/", "webhook:okta", "api", "operator"] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
            assert_eq!(serde_json::to_value(&source).unwrap(), text);
        }
        for text in ["", "scim:", "webhook:Not Lower", "claims", "group:1", "claims:"] {
            assert_eq!(text.parse::<Source>(), Err(SourceError), "{text}");
        }
    }

    #[test]
    fn groups_and_claims_do_not_say_who_is_active() {
        let may = |text: &str| text.parse::<Source>().unwrap().may_say_active();
        assert!(["scim", "webhook:okta", "api", "operator"].into_iter().all(may));
        assert!(!["scim-group:g-1", "claims:https://idp.example/"].into_iter().any(may));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(text in any::<String>()) {
            if let Ok(source) = text.parse::<Source>() {
                prop_assert_eq!(source.to_string(), text);
            }
        }
    }
}
