//! Reads secrets from Secrets Manager or from files, and caches them.
//!
//! [`CachedSecret`] keeps a value for five minutes, and for up to an hour while the source fails. Some secrets may be
//! unset, for example in a new deployment. For such a secret, the cache keeps a default value in the same way.
//! [`TwilioCredentials`] handles the rotation of Twilio's credential. No error and no `Debug` output contains a
//! secret's value.

mod aws;
mod cache;
mod files;
mod problem;
mod rotation;
mod settings;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

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
    /// `AWSPENDING`: the version that a rotation will make current.
    Pending,
}

/// A secret as its source stores it.
#[derive(Debug, Clone)]
pub struct SecretValue {
    /// The name of the secret's version. When the secret's text changes, this name changes too.
    pub version: String,
    /// The text of the document.
    pub text: SecretString,
}

/// Why a source did not return a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// There is no such secret or version, or the version contains no text.
    #[error("there is no such secret")]
    NotFound,
    /// This process has no permission to read the secret.
    #[error("reading the secret is not allowed")]
    Denied(#[source] Arc<dyn Error + Send + Sync>),
    /// The source failed, or did not answer in time.
    #[error("the source of secrets is unavailable")]
    Unavailable(#[source] Arc<dyn Error + Send + Sync>),
}

/// A source of secrets.
#[async_trait]
pub trait SecretSource: Debug + Send + Sync {
    /// Reads the secret `id` at `stage`.
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError>;
}

/// Why a secret cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// The source did not return the secret, and the cache has no value that is recent enough.
    #[error("the secret {id} cannot be read")]
    Unreadable {
        /// The name of the secret.
        id: String,
        /// Why the source did not return the secret.
        #[source]
        source: FetchError,
    },
    /// The secret's document does not have the expected form.
    #[error("the secret {id} is malformed: {reason}")]
    Malformed {
        /// The name of the secret.
        id: String,
        /// The mistake in the document. The text can contain the name of an unknown field, but no secret value.
        reason: String,
    },
    /// The deadline passed while this request waited for another request to fetch the secret.
    #[error("the secret {id} was not read in time")]
    Timeout {
        /// The name of the secret.
        id: String,
    },
}

impl SecretError {
    /// Whether the error lasts until an operator changes the secret or a permission.
    fn is_definite(&self) -> bool {
        match self {
            Self::Malformed { .. } => true,
            Self::Unreadable { source, .. } => !matches!(source, FetchError::Unavailable(_)),
            Self::Timeout { .. } => false,
        }
    }
}
