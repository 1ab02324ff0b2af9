//! The Twilio credential, and its rotation.
//!
//! While Secrets Manager rotates a Twilio credential, the version `AWSCURRENT` can contain an invalid credential for up
//! to five minutes. So after a rejection by Twilio, Flexgate reads the secret again. If the credential has not changed,
//! Flexgate uses the version `AWSPENDING`, until `AWSCURRENT` changes or Twilio rejects the pending credential too.
//!
//! If Twilio rejects many requests at once, one of them searches for another credential, and the others use its result.
//! If the search finds none, Flexgate waits at least five seconds before it searches again.

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::cache::{CachedSecret, Held};
use super::{SecretError, SecretSource};
use crate::base::clock_rng::Clock;
use crate::base::outbound::Deadline;
use crate::domain::{AccountSid, ApiKeySid};

/// The minimum pause after a search that found no other credential. Each search reads the secret up to three times.
const REST: Duration = Duration::seconds(5);

/// A Twilio credential, in either of the two shapes that AWS's managed rotation for Twilio uses.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Document")]
pub struct Credential {
    /// The account that the credential belongs to.
    pub account_sid: AccountSid,
    /// The user name for HTTP Basic: the SID of the account or of the API key.
    pub username: String,
    /// The password for HTTP Basic: the `AuthToken` or the API key's secret.
    pub password: SecretString,
}

/// Why a document is not a credential. The error never contains the document's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The document has neither of the two shapes, or mixes them.
    #[error("it must hold accountSid and either authToken or both apiKeySid and apiKeySecret")]
    Shape,
    /// An identifier is malformed.
    #[error("accountSid must be AC and 32 hexadecimal digits, apiKeySid SK and 32 hexadecimal digits")]
    Sid,
    /// The password is empty.
    #[error("authToken or apiKeySecret is empty")]
    Empty,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    account_sid: Option<String>,
    auth_token: Option<SecretString>,
    api_key_sid: Option<String>,
    api_key_secret: Option<SecretString>,
}

impl TryFrom<Document> for Credential {
    type Error = CredentialError;

    fn try_from(document: Document) -> Result<Self, CredentialError> {
        use secrecy::ExposeSecret as _;
        let account_sid: AccountSid =
            document.account_sid.ok_or(CredentialError::Shape)?.parse().map_err(|_| CredentialError::Sid)?;
        let (username, password) = match (document.auth_token, document.api_key_sid, document.api_key_secret) {
            (Some(token), None, None) => (account_sid.to_string(), token),
            (None, Some(key), Some(secret)) => {
                let key: ApiKeySid = key.parse().map_err(|_| CredentialError::Sid)?;
                (key.to_string(), secret)
            }
            _ => return Err(CredentialError::Shape),
        };
        if password.expose_secret().is_empty() {
            return Err(CredentialError::Empty);
        }
        Ok(Self { account_sid, username, password })
    }
}

/// A credential that Flexgate uses, and the version of its secret.
#[derive(Debug, Clone)]
pub struct HeldCredential(Arc<Held<Credential>>);

impl std::ops::Deref for HeldCredential {
    type Target = Credential;

    fn deref(&self) -> &Credential {
        &self.0.value
    }
}

/// The Twilio credential, which is read from its secret.
#[derive(Debug)]
pub struct TwilioCredentials {
    secret: CachedSecret<Credential>,
    clock: Arc<dyn Clock>,
    takeover: Mutex<Takeover>,
    // This lock lets only one search run at a time, so fifty simultaneous rejections cause a single search.
    turn: tokio::sync::Mutex<()>,
}

/// The pending credential that Flexgate uses instead of a rejected current one, and the time of the last search that
/// found no other credential.
#[derive(Debug, Default)]
struct Takeover {
    pending: Option<Pending>,
    in_vain_at: Option<OffsetDateTime>,
}

#[derive(Debug)]
struct Pending {
    instead_of: String,
    credential: HeldCredential,
}

impl TwilioCredentials {
    /// Makes a reader of the credential in the secret with the name `id`, without reading anything yet.
    #[must_use]
    pub fn new(id: impl Into<String>, source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self {
        Self {
            secret: CachedSecret::new(id, source, clock.clone()),
            clock,
            takeover: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the credential to use now.
    pub async fn current(&self, deadline: Deadline) -> Result<HeldCredential, SecretError> {
        let held = self.secret.get(deadline).await?;
        Ok(self.taken_over(&held.version).unwrap_or(HeldCredential(held)))
    }

    /// Returns another credential to try after Twilio rejected `rejected`. Returns `None` if there is no other
    /// credential yet.
    pub async fn after_rejection(
        &self,
        rejected: &HeldCredential,
        deadline: Deadline,
    ) -> Result<Option<HeldCredential>, SecretError> {
        let turn = tokio::time::timeout_at(deadline.instant(), self.turn.lock()).await;
        let _turn = turn.map_err(|_| SecretError::Timeout { id: self.secret.id().to_owned() })?;

        let in_use = self.current(deadline).await?;
        if in_use.0.version != rejected.0.version {
            return Ok(Some(in_use));
        }
        let now = self.clock.now();
        if self.takeover().in_vain_at.is_some_and(|in_vain_at| now - in_vain_at < REST) {
            return Ok(None);
        }
        let let_go = self.let_go_of(rejected);
        let found = self.search(rejected, let_go.as_deref(), deadline).await;
        let fresh = matches!(&found, Ok(Some(found)) if Some(&*found.0.version) != let_go.as_deref());
        self.takeover().in_vain_at = (!fresh).then_some(now);
        found
    }

    /// Searches for a credential that Twilio has not rejected. Twilio has just rejected `rejected`. If Twilio rejected
    /// another version of the secret before, `rejected_before` names that version. As a last resort, the search returns
    /// the current credential even if its version is `rejected_before`, but never `rejected`.
    async fn search(
        &self,
        rejected: &HeldCredential,
        rejected_before: Option<&str>,
        deadline: Deadline,
    ) -> Result<Option<HeldCredential>, SecretError> {
        let known_bad = |version: &str| version == rejected.0.version || Some(version) == rejected_before;
        let current = self.secret.reread(deadline).await;
        if let Ok(current) = &current
            && !known_bad(&current.version)
        {
            return Ok(Some(HeldCredential(current.clone())));
        }
        let pending = self.secret.pending(deadline).await;
        if let Ok(Some(pending)) = pending
            && !known_bad(&pending.version)
        {
            let instead_of = self.secret.get(deadline).await?.version.clone();
            let credential = HeldCredential(Arc::new(pending));
            self.takeover().pending = Some(Pending { instead_of, credential: credential.clone() });
            tracing::info!(
                secret = self.secret.id(),
                "using the pending Twilio credential until the current one moves"
            );
            return Ok(Some(credential));
        }
        // The rotation may have ended between the two reads. In that case, the pending version has become the current
        // one.
        let current = self.secret.reread(deadline).await.or(current)?;
        Ok((current.version != rejected.0.version).then_some(HeldCredential(current)))
    }

    /// If `rejected` is the pending credential, stops using it and returns the version of the credential that it
    /// replaced. Otherwise returns `None`.
    fn let_go_of(&self, rejected: &HeldCredential) -> Option<String> {
        let mut takeover = self.takeover();
        let pending = takeover.pending.take_if(|pending| pending.credential.0.version == rejected.0.version)?;
        Some(pending.instead_of)
    }

    fn taken_over(&self, current_version: &str) -> Option<HeldCredential> {
        let takeover = self.takeover();
        takeover.pending.as_ref().filter(|p| p.instead_of == current_version).map(|p| p.credential.clone())
    }

    fn takeover(&self) -> std::sync::MutexGuard<'_, Takeover> {
        self.takeover.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
