//! The secrets, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flexgate::base::outbound::Deadline;
use flexgate::secrets::{FetchError, SecretSource, SecretValue, Stage};
use secrecy::SecretString;
use serde_json::Value;

use crate::chance::Chance;
use crate::weather::Weather;

/// A source of secrets. Clones share the same secrets.
#[derive(Clone)]
pub(crate) struct Vault {
    documents: Arc<Mutex<BTreeMap<String, (u32, String)>>>,
    chance: Chance,
    weather: Arc<Weather>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    pub(crate) fn new(chance: Chance, weather: Arc<Weather>) -> Self {
        Self { documents: Arc::default(), chance, weather }
    }

    pub(crate) fn put(&self, id: &str, document: &Value) {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        let version = documents.get(id).map_or(0, |(version, _)| version + 1);
        documents.insert(id.to_owned(), (version, document.to_string()));
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn fetch(&self, id: &str, stage: Stage, _deadline: Deadline) -> Result<SecretValue, FetchError> {
        tokio::task::yield_now().await;
        if self.chance.thousandths(self.weather.now().unreachable) {
            let error: Box<dyn std::error::Error + Send + Sync> = "the simulated vault is away".into();
            return Err(FetchError::Unavailable(error.into()));
        }
        if stage == Stage::Pending {
            return Err(FetchError::NotFound);
        }
        let documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, text) = documents.get(id).ok_or(FetchError::NotFound)?;
        Ok(SecretValue { version: version.to_string(), text: SecretString::from(text.clone()) })
    }
}
