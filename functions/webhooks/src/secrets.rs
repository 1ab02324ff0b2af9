//! The document with the sources' secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use flexgate::domain::SourceName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The minimum length of a secret, in bytes. A random secret of 128 bits has 22 characters in base64, and 32 in
/// hexadecimal.
const SHORTEST: usize = 16;

/// The minimum number of different characters in a secret. Placeholders such as `xxxxxxxx` contain fewer.
const FEWEST_CHARACTERS: usize = 8;

/// Common placeholders. Before a secret is compared with them, its prefix, digits and punctuation are removed, and its
/// letters become lower case.
const DEFAULTS: [&str; 10] = [
    "changeme",
    "secret",
    "mysecret",
    "password",
    "default",
    "example",
    "webhooksecret",
    "replaceme",
    "yoursecrethere",
    "secretclientstate",
];

/// Example secrets from the documentation of Standard Webhooks and Svix.
const PUBLISHED: [&str; 3] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_plJ3nmyCDGBKInavdOK15jsl",
];

/// Why a source's secrets are unusable. The error messages contain the source's name, but never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretFault {
    /// The document has no entry for the source.
    #[error("the source {0} has no secret")]
    Missing(SourceName),
    /// The entry is neither one secret nor a list of one or two.
    #[error("the source {0} must have one secret, or two while one replaces the other")]
    Count(SourceName),
    /// A secret is empty.
    #[error("the source {0} has an empty secret")]
    Empty(SourceName),
    /// A secret has too few characters, or too few different ones.
    #[error("the source {0} has a secret of fewer than 16 bytes or 8 different characters: generate one")]
    Weak(SourceName),
    /// A secret comes from documentation.
    #[error("the source {0} has a secret that stands in documentation: generate one")]
    Default(SourceName),
    /// This kind of source cannot use the secret.
    #[error("the secret of the source {0} {1}")]
    Unfit(SourceName, &'static str),
}

/// The secrets of each source: `{"okta": "…", "standard": ["whsec_new…", "whsec_old…"]}`. Two secrets of one source are
/// both valid, so that an administrator can replace a secret without downtime.
///
/// A mistake in one source's entry does not affect the other sources.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "BTreeMap<String, Entry>")]
pub struct WebhookSecrets {
    sources: BTreeMap<SourceName, Result<Vec<SecretString>, SecretFault>>,
    has_misnamed: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Absent(()),
    One(SecretString),
    More(Vec<Option<SecretString>>),
    Other(IgnoredAny),
}

impl WebhookSecrets {
    /// Returns the secrets that can authenticate a source's delivery, or the mistake in the source's entry.
    pub fn of(&self, source: &SourceName) -> Result<&[SecretString], SecretFault> {
        match self.sources.get(source) {
            Some(Ok(secrets)) => Ok(secrets),
            Some(Err(fault)) => Err(fault.clone()),
            None => Err(SecretFault::Missing(source.clone())),
        }
    }

    /// Returns the first mistake in any source's entry.
    pub(crate) fn mistake(&self) -> Option<&SecretFault> {
        self.sources.values().find_map(|entry| entry.as_ref().err())
    }

    /// Whether the document has an entry under a name that no source can have.
    pub(crate) fn has_misnamed(&self) -> bool {
        self.has_misnamed
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.sources.keys()).finish()
    }
}

impl From<BTreeMap<String, Entry>> for WebhookSecrets {
    fn from(document: BTreeMap<String, Entry>) -> Self {
        let mut secrets = Self::default();
        for (name, entry) in document {
            match name.parse::<SourceName>() {
                Ok(name) => {
                    if let Some(checked) = entry.checked(&name) {
                        secrets.sources.insert(name, checked);
                    }
                }
                Err(_) => secrets.has_misnamed = true,
            }
        }
        secrets
    }
}

impl Entry {
    /// Returns the secrets of the source, or the mistake in the entry. `None` if there is no entry.
    fn checked(self, name: &SourceName) -> Option<Result<Vec<SecretString>, SecretFault>> {
        let secrets: Vec<_> = match self {
            Self::Absent(()) => return None,
            Self::One(secret) => vec![secret],
            Self::More(secrets) => secrets.into_iter().flatten().collect(),
            Self::Other(_) => Vec::new(),
        };
        if !(1..=2).contains(&secrets.len()) {
            return Some(Err(SecretFault::Count(name.clone())));
        }
        let mistake = secrets.iter().find_map(|secret| check(secret.expose_secret(), name).err());
        Some(mistake.map_or(Ok(secrets), Err))
    }
}

fn check(secret: &str, name: &SourceName) -> Result<(), SecretFault> {
    if secret.trim().is_empty() {
        return Err(SecretFault::Empty(name.clone()));
    }
    let letters: String = secret
        .strip_prefix("whsec_")
        .unwrap_or(secret)
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if DEFAULTS.contains(&letters.as_str()) || PUBLISHED.contains(&secret) {
        return Err(SecretFault::Default(name.clone()));
    }
    let different: BTreeSet<char> = secret.chars().collect();
    if secret.len() < SHORTEST || different.len() < FEWEST_CHARACTERS {
        return Err(SecretFault::Weak(name.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<WebhookSecrets, String> {
        serde_json::from_str(document).map_err(|error| error.to_string())
    }

    fn okta(document: &str) -> Result<usize, String> {
        let secrets = read(document)?;
        secrets.of(&"okta".parse().unwrap()).map(<[_]>::len).map_err(|fault| fault.to_string())
    }

    #[test]
    fn w16_empty_default_short_and_repeated_secrets_are_refused_by_name() {
        for (secret, why) in [
            ("", "an empty secret"),
            ("   ", "an empty secret"),
            ("changeme", "stands in documentation"),
            ("Change-Me!", "stands in documentation"),
            ("secretClientState", "stands in documentation"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "stands in documentation"),
            ("k3J9x", "fewer than 16 bytes"),
            ("k3J9x7Qp2LmN8vR", "fewer than 16 bytes"),
            ("abcdefgabcdefgab", "8 different characters"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "8 different characters"),
        ] {
            let error = okta(&format!(r#"{{"okta": "{secret}"}}"#)).unwrap_err();
            assert!(error.contains("okta") && error.contains(why), "{secret}: {error}");
            assert!(secret.trim().is_empty() || !error.contains(secret), "{error}");
        }
    }

    #[test]
    fn one_secret_or_two_are_live_and_three_are_a_mistake() {
        let good = "f3c1d7a94be04f0a8d7c";
        for just in [good, "k3J9x7Qp2LmN8vRt", "abcdefghabcdefgh"] {
            assert_eq!(okta(&format!(r#"{{"okta": "{just}"}}"#)), Ok(1));
        }
        assert_eq!(okta(&format!(r#"{{"okta": ["{good}", "{good}1"]}}"#)), Ok(2));
        assert!(okta(&format!(r#"{{"okta": ["{good}", "{good}1", "{good}2"]}}"#)).is_err());
        assert!(okta(r#"{"okta": []}"#).is_err());
        assert!(read(r#"{"Okta": "x"}"#).unwrap().has_misnamed());
        assert!(!read(r#"{"okta": "x"}"#).unwrap().has_misnamed());
    }

    #[test]
    fn a_mistake_concerns_only_its_source_and_null_is_no_entry() {
        let good = "f3c1d7a94be04f0a8d7c";
        for other in [r#""""#, "7", "[]", "{}", "[7]", "null", r#""changeme""#] {
            let document = format!(r#"{{"okta": "{good}", "clerk": {other}}}"#);
            assert_eq!(okta(&document), Ok(1), "{other}");
            let secrets = read(&document).unwrap();
            assert!(secrets.of(&"clerk".parse().unwrap()).is_err(), "{other}");
            assert_eq!(secrets.mistake().is_none(), other == "null", "{other}");
        }
        assert!(okta(r#"{"okta": null}"#).unwrap_err().contains("has no secret"));
    }

    #[test]
    fn debug_shows_the_sources_and_no_secret() {
        let debug = format!("{:?}", read(r#"{"okta": "f3c1d7a94be04f0a8d7c"}"#).unwrap());
        assert!(debug.contains("okta") && !debug.contains("f3c1"));
    }
}
