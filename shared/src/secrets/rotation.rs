//! The Twilio credential, across its rotation.
//!
//! While Secrets Manager rotates a Twilio credential, `AWSCURRENT` can name a dead one for up to five
//! minutes. So when Twilio rejects a credential: read it again; if that brings no other one, try
//! `AWSPENDING`, and keep using that until `AWSCURRENT` moves.

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::cache::{CachedSecret, Held};
use super::{SecretError, SecretSource};
use crate::ambient::Clock;
use crate::domain::{AccountSid, ApiKeySid};
use crate::outbound::Deadline;

/// While no pending credential is there, it is asked for at most this often.
const PENDING_COOL_DOWN: Duration = Duration::seconds(5);

/// A Twilio credential, in either of the shapes of AWS's managed Twilio rotation.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Document")]
pub struct Credential {
    /// The account it belongs to.
    pub account_sid: AccountSid,
    /// The user name for HTTP Basic: the account's SID or an API key's.
    pub username: String,
    /// The password for HTTP Basic: the `AuthToken` or the API key's secret.
    pub password: SecretString,
}

/// Why the document is no credential. Never holds its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Neither shape, or both.
    #[error("it must hold accountSid and either authToken or both apiKeySid and apiKeySecret")]
    Shape,
    /// An identifier is not one.
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

/// A credential in use.
#[derive(Debug, Clone)]
pub struct HeldCredential(Arc<Held<Credential>>);

impl std::ops::Deref for HeldCredential {
    type Target = Credential;

    fn deref(&self) -> &Credential {
        &self.0.value
    }
}

/// The Twilio credential, from its secret.
#[derive(Debug)]
pub struct TwilioCredentials {
    secret: CachedSecret<Credential>,
    clock: Arc<dyn Clock>,
    takeover: Mutex<Takeover>,
    // One rotation at a time: fifty requests that are rejected together cause one round of reading.
    turn: tokio::sync::Mutex<()>,
}

/// A pending credential that took over from a rejected current one.
#[derive(Debug, Default)]
struct Takeover {
    pending: Option<Pending>,
    asked_at: Option<OffsetDateTime>,
}

#[derive(Debug)]
struct Pending {
    instead_of: String,
    credential: HeldCredential,
}

impl TwilioCredentials {
    /// The credential in the secret called `id`.
    #[must_use]
    pub fn new(id: impl Into<String>, source: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Self {
        Self {
            secret: CachedSecret::new(id, source, clock.clone()),
            clock,
            takeover: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The credential to use now.
    pub async fn current(&self, deadline: Deadline) -> Result<HeldCredential, SecretError> {
        let held = self.secret.get(deadline).await?;
        Ok(self.taken_over(&held.version).unwrap_or(HeldCredential(held)))
    }

    /// Another credential to try after Twilio rejected `rejected`; `None` if there is none yet.
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
        let known = self.secret.get(deadline).await?;
        let current = self.secret.get_after_rejection(&known.version, deadline).await?;
        if current.version != known.version && current.version != rejected.0.version {
            return Ok(Some(HeldCredential(current)));
        }
        if !self.may_ask_for_pending() {
            return Ok(None);
        }
        let pending = self.secret.pending(deadline).await?.filter(|pending| pending.version != rejected.0.version);
        let Some(pending) = pending else { return Ok(None) };
        let credential = HeldCredential(Arc::new(pending));
        let takeover = Pending { instead_of: current.version.clone(), credential: credential.clone() };
        self.takeover().pending = Some(takeover);
        tracing::info!(secret = self.secret.id(), "using the pending Twilio credential until the current one moves");
        Ok(Some(credential))
    }

    fn taken_over(&self, current_version: &str) -> Option<HeldCredential> {
        let takeover = self.takeover();
        takeover.pending.as_ref().filter(|p| p.instead_of == current_version).map(|p| p.credential.clone())
    }

    fn may_ask_for_pending(&self) -> bool {
        let now = self.clock.now();
        let mut takeover = self.takeover();
        let may = takeover.asked_at.is_none_or(|asked_at| now - asked_at >= PENDING_COOL_DOWN);
        if may {
            takeover.asked_at = Some(now);
        }
        may
    }

    fn takeover(&self) -> std::sync::MutexGuard<'_, Takeover> {
        self.takeover.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
