//! The document with the sources' secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use flexgate::domain::SourceName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The minimum length of a secret, in bytes. A random secret of 128 bits has 22 characters in base64, and 32 in
/// hexadecimal.
const SHORTEST: usize = 16;

/// The minimum number of different characters in a secret. Placeholders such as `xxxxxxxx` have fewer.
const FEWEST_CHARACTERS: usize = 8;

/// Common placeholders. The comparison ignores a secret's case, prefix, digits and punctuation.
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

/// Why the secrets document is unusable. The error messages contain the source's name, and never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// A name that no source can have.
    #[error("a source's name must have 1 to 32 lower-case letters, digits and hyphens")]
    Name,
    /// The source has no secret, or more than two.
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
}

/// The secrets of each source: `{"okta": "…", "standard": ["whsec_new…", "whsec_old…"]}`. Two secrets of one source are
/// both valid, so that an administrator can replace a secret without downtime.
#[derive(Clone, Deserialize)]
#[serde(try_from = "BTreeMap<String, OneOrMore>")]
pub struct WebhookSecrets(BTreeMap<SourceName, Vec<SecretString>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(SecretString),
    More(Vec<SecretString>),
}

impl WebhookSecrets {
    /// Returns the secrets that can prove a source's delivery.
    #[must_use]
    pub fn of(&self, source: &SourceName) -> Option<&[SecretString]> {
        self.0.get(source).map(Vec::as_slice)
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl TryFrom<BTreeMap<String, OneOrMore>> for WebhookSecrets {
    type Error = DocumentFault;

    fn try_from(document: BTreeMap<String, OneOrMore>) -> Result<Self, DocumentFault> {
        let mut sources = BTreeMap::new();
        for (name, secrets) in document {
            let name: SourceName = name.parse().map_err(|_| DocumentFault::Name)?;
            let secrets = match secrets {
                OneOrMore::One(secret) => vec![secret],
                OneOrMore::More(secrets) => secrets,
            };
            if !(1..=2).contains(&secrets.len()) {
                return Err(DocumentFault::Count(name));
            }
            for secret in &secrets {
                check(secret.expose_secret(), &name)?;
            }
            sources.insert(name, secrets);
        }
        Ok(Self(sources))
    }
}

fn check(secret: &str, name: &SourceName) -> Result<(), DocumentFault> {
    if secret.trim().is_empty() {
        return Err(DocumentFault::Empty(name.clone()));
    }
    let letters: String = secret
        .strip_prefix("whsec_")
        .unwrap_or(secret)
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if DEFAULTS.contains(&letters.as_str()) || PUBLISHED.contains(&secret) {
        return Err(DocumentFault::Default(name.clone()));
    }
    let different: BTreeSet<char> = secret.chars().collect();
    if secret.len() < SHORTEST || different.len() < FEWEST_CHARACTERS {
        return Err(DocumentFault::Weak(name.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<WebhookSecrets, String> {
        serde_json::from_str(document).map_err(|error| error.to_string())
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
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "8 different characters"),
        ] {
            let error = read(&format!(r#"{{"okta": "{secret}"}}"#)).unwrap_err();
            assert!(error.contains("okta") && error.contains(why), "{secret}: {error}");
            assert!(secret.trim().is_empty() || !error.contains(secret), "{error}");
        }
    }

    #[test]
    fn one_secret_or_two_are_live_and_three_are_a_mistake() {
        let good = "f3c1d7a94be04f0a8d7c";
        let name = "okta".parse().unwrap();
        assert_eq!(read(&format!(r#"{{"okta": "{good}"}}"#)).unwrap().of(&name).unwrap().len(), 1);
        assert_eq!(read(&format!(r#"{{"okta": ["{good}", "{good}1"]}}"#)).unwrap().of(&name).unwrap().len(), 2);
        assert!(read(&format!(r#"{{"okta": ["{good}", "{good}1", "{good}2"]}}"#)).is_err());
        assert!(read(r#"{"okta": []}"#).is_err());
        assert!(read(r#"{"Okta": "x"}"#).is_err());
    }

    #[test]
    fn debug_shows_the_sources_and_no_secret() {
        let debug = format!("{:?}", read(r#"{"okta": "f3c1d7a94be04f0a8d7c"}"#).unwrap());
        assert!(debug.contains("okta") && !debug.contains("f3c1"));
    }
}
