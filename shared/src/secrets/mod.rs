//! Reads secrets from Secrets Manager or from files, and caches them.
//!
//! Both sources implement [`SecretSource`]. [`CachedSecret`] keeps the value for five minutes, and lets concurrent
//! readers share one fetch. If the source fails, readers get the last value until that value is an hour old.
//! [`TwilioCredentials`] handles the rotation of Twilio's credential, and limits how often its secret is read again. A
//! secret's values never appear in an error or in `Debug`.

mod aws;
mod cache;
mod files;
mod problem;
mod rotation;
mod settings;

use std::fmt::Debug;

use async_trait::async_trait;
use secrecy::SecretString;

pub use aws::SecretsManager;
pub use cache::{CachedSecret, Held};
pub use files::FileSecrets;
pub use rotation::{Credential, CredentialError, HeldCredential, TwilioCredentials};
pub use settings::SecretsFrom;

use crate::base::outbound::Deadline;

/// A version of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `AWSCURRENT`: the version in use.
    Current,
    /// `AWSPENDING`: the version that a rotation is about to make current.
    Pending,
}

/// A secret as its source stores it.
#[derive(Debug, Clone)]
pub struct SecretValue {
    /// The version's name. It changes whenever the text changes.
    pub version: String,
    /// The document.
    pub text: SecretString,
}

/// Why a source did not return a secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such secret, the secret has no such version, or the version holds no text.
    #[error("there is no such secret")]
    NotFound,
    /// This process may not read the secret.
    #[error("reading the secret is not allowed")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The source failed, or did not answer in time.
    #[error("the source of secrets is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where secrets come from.
#[async_trait]
pub trait SecretSource: Debug + Send + Sync {
    /// Reads the secret `id` at `stage`.
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError>;
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The source did not return the secret, and the cache has no value that is recent enough.
    #[error("the secret {id} cannot be read")]
    Unreadable {
        /// The secret's name.
        id: String,
        /// Why the source did not return it.
        #[source]
        source: FetchError,
    },
    /// The secret's document does not have the expected form.
    #[error("the secret {id} is malformed: {reason}")]
    Malformed {
        /// The secret's name.
        id: String,
        /// What is wrong with the document, without any of the secret's values. It may contain the name of an unknown
        /// field.
        reason: String,
    },
    /// The request's deadline passed while it waited for another request to fetch the secret.
    #[error("the secret {id} was not read in time")]
    Timeout {
        /// The secret's name.
        id: String,
    },
}
