//! Secrets, from Secrets Manager or from files, kept fresh.
//!
//! Both sources implement [`SecretSource`]. [`CachedSecret`] adds what every reader needs: a value that is at most
//! five minutes old, one shared fetch for concurrent readers, and the last value while the source is down.
//! [`TwilioCredentials`] adds rotation, and limits rereads so that nobody can cause a flood of them. A secret's text
//! never appears in an error or in `Debug`.

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

/// Which version of a secret is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `AWSCURRENT`: the one in force.
    Current,
    /// `AWSPENDING`: the one a rotation is about to put in force.
    Pending,
}

/// A secret as its source holds it.
#[derive(Debug, Clone)]
pub struct SecretValue {
    /// Changes whenever the text does.
    pub version: String,
    /// The document.
    pub text: SecretString,
}

/// Why a source did not give a secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such secret, or no such version of it.
    #[error("there is no such secret")]
    NotFound,
    /// This function's role may not read it.
    #[error("reading the secret is not allowed")]
    Denied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The source did not answer, or not in time.
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
    /// The source did not give it, and no earlier value is young enough to serve.
    #[error("the secret {id} cannot be read")]
    Unreadable {
        /// The secret's name.
        id: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// It is not the document it should be.
    #[error("the secret {id} is malformed: {reason}")]
    Malformed {
        /// The secret's name.
        id: String,
        /// What is wrong, without any of the secret's text.
        reason: String,
    },
    /// The request's deadline passed while another request was fetching it.
    #[error("the secret {id} was not read in time")]
    Timeout {
        /// The secret's name.
        id: String,
    },
}
