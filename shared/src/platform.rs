//! What the settings stand for: the HTTP client, the source of secrets, the store.

use std::sync::Arc;

use crate::ambient::Ambient;
use crate::aws::Aws;
use crate::outbound::{ClientError, http_client};
use crate::secrets::{FileSecrets, SecretSource, SecretsManager, TwilioCredentials};
use crate::settings::{Common, Credential, SecretsFrom, StoreAt};
use crate::store::{
    Bindings, Claims, Counters, DeadLetters, Directory, DynamoStore, EventQueue, Inbox, Sessions, SqliteStore,
    SqsQueue, StoreError, Subjects,
};
use crate::twilio::{Flex, Sso};

/// What a function stands on. Building it does no network I/O.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The clock and the generator.
    pub ambient: Ambient,
    /// The one HTTP client.
    pub http: reqwest::Client,
    /// Where secrets come from.
    pub secrets: Arc<dyn SecretSource>,
    /// Sign-in sessions.
    pub sessions: Arc<dyn Sessions>,
    /// What may happen once.
    pub claims: Arc<dyn Claims>,
    /// What may happen only so often.
    pub counters: Arc<dyn Counters>,
    /// Who is which Flex user.
    pub bindings: Arc<dyn Bindings>,
    /// Identity events on their way.
    pub queue: Arc<dyn EventQueue>,
    /// The queue's receiving end; `None` where somebody else (SQS) hands out what arrives.
    pub inbox: Option<Inbox>,
    /// Events that could not be applied.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// What has been applied to whom.
    pub subjects: Arc<dyn Subjects>,
    /// What SCIM remembers.
    pub directory: Arc<dyn Directory>,
}

/// What the settings name cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The HTTP client.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] ClientError),
    /// The store.
    #[error("the store (FLEXGATE_STORE) cannot be opened")]
    Store(#[from] StoreError),
}

impl Platform {
    /// The platform that the settings describe.
    pub fn new(settings: &Common, ambient: Ambient) -> Result<Self, PlatformError> {
        let http = http_client(&settings.extra_roots)?;
        let aws = Aws::new(http.clone());
        let secrets: Arc<dyn SecretSource> = match &settings.secrets {
            SecretsFrom::SecretsManager => Arc::new(SecretsManager::new(aws.clone())),
            SecretsFrom::Files(folder) => Arc::new(FileSecrets::new(folder)),
        };
        Ok(match &settings.store {
            StoreAt::Sqlite(path) => {
                let store = Arc::new(SqliteStore::open(path)?);
                Self {
                    ambient,
                    http,
                    secrets,
                    sessions: store.clone(),
                    claims: store.clone(),
                    counters: store.clone(),
                    bindings: store.clone(),
                    queue: store.clone(),
                    inbox: Some(Inbox::new(SqliteStore::clone(&store))),
                    dead_letters: store.clone(),
                    subjects: store.clone(),
                    directory: store,
                }
            }
            StoreAt::DynamoDb(table) => {
                let queue = SqsQueue::new(settings.queue.as_deref(), aws.clone());
                let store = Arc::new(DynamoStore::new(table, queue.clone(), aws));
                Self {
                    ambient,
                    http,
                    secrets,
                    sessions: store.clone(),
                    claims: store.clone(),
                    counters: store.clone(),
                    bindings: store.clone(),
                    queue: Arc::new(queue),
                    inbox: None,
                    dead_letters: store.clone(),
                    subjects: store.clone(),
                    directory: store,
                }
            }
        })
    }

    /// Flex with the account's credential.
    #[must_use]
    pub fn flex(&self, settings: &Common, credential: &Credential) -> Flex {
        let clock = self.ambient.clock.clone();
        let credentials = TwilioCredentials::new(&credential.secret_id, self.secrets.clone(), clock);
        let (account, instance) = (settings.account.clone(), settings.instance.clone());
        let endpoints = settings.endpoints.clone();
        Flex::new(self.http.clone(), endpoints, self.ambient.clone(), Arc::new(credentials), account, instance)
    }

    /// Flex without one.
    #[must_use]
    pub fn sso(&self, settings: &Common) -> Sso {
        let (account, instance) = (settings.account.clone(), settings.instance.clone());
        Sso::new(self.http.clone(), settings.endpoints.clone(), self.ambient.clone(), account, instance)
    }
}
