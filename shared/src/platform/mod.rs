//! Builds the services that the settings describe: the HTTP client, the source of secrets and the store.

mod settings;

use std::sync::Arc;

pub use settings::{Common, OwnerSettings};

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{ClientError, http_client};
use crate::lambda::Aws;
use crate::secrets::{FileSecrets, SecretSource, SecretsFrom, SecretsManager, TwilioCredentials};
#[cfg(feature = "local")]
use crate::store::SqliteStore;
use crate::store::{
    Bindings, Counters, Deactivations, DeadLetters, DynamoStore, EventHistory, EventQueue, Inbox, Notes, OnceOnly,
    People, ReturnAddresses, ScimStore, Sessions, SqsQueue, StoreAt, StoreError, UsernameIndex,
};
use crate::twilio::{CredentialSettings, Flex, Sso};

/// The services that a function uses. Building them does no network I/O.
///
/// The store has one trait for each kind of data, and each function requests only the traits that it uses. The linker
/// then leaves the code for the other traits out of the function's binary.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The clock and the random generator.
    pub clock_rng: ClockRng,
    /// The only HTTP client of the process.
    pub http: reqwest::Client,
    /// Where secrets come from.
    pub secrets: Arc<dyn SecretSource>,
    store: Store,
}

#[derive(Debug, Clone)]
enum Store {
    #[cfg(feature = "local")]
    Sqlite(Arc<SqliteStore>),
    DynamoDb(Arc<DynamoStore>, SqsQueue),
}

macro_rules! ports {
    ($($(#[$doc:meta])* $name:ident: $port:ident;)*) => {
        impl Platform {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(&self) -> Arc<dyn $port> {
                match &self.store {
                    #[cfg(feature = "local")]
                    Store::Sqlite(store) => store.clone(),
                    Store::DynamoDb(store, _) => store.clone(),
                }
            })*
        }
    };
}

ports! {
    /// Sign-in sessions.
    sessions: Sessions;
    /// Keys that can be claimed only once.
    once_only: OnceOnly;
    /// The return addresses of pending logins.
    return_addresses: ReturnAddresses;
    /// Counters for rate limits.
    counters: Counters;
    /// Which identity is bound to which Flex user.
    bindings: Bindings;
    /// Events that could not be applied.
    dead_letters: DeadLetters;
    /// The record of events that were applied before the people ledger existed.
    event_history: EventHistory;
    /// What Flexgate stores for SCIM.
    scim: ScimStore;
    /// The people ledger.
    people: People;
    /// Which people are inactive.
    deactivations: Deactivations;
    /// What Flexgate refused or ignored lately.
    notes: Notes;
    /// An index of Flex's users by username, regardless of case. It describes the users as they were when Flexgate last
    /// saw them.
    usernames: UsernameIndex;
}

/// A service that the settings describe cannot be set up. The variant says which one.
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
    /// Builds the platform that the settings describe.
    pub fn new(settings: &Common, clock_rng: ClockRng) -> Result<Self, PlatformError> {
        let http = http_client(&settings.extra_roots)?;
        let aws = Aws::new(http.clone());
        let secrets: Arc<dyn SecretSource> = match &settings.secrets {
            SecretsFrom::SecretsManager => Arc::new(SecretsManager::new(aws.clone())),
            SecretsFrom::Files(folder) => Arc::new(FileSecrets::new(folder)),
        };
        let store = match &settings.store {
            #[cfg(feature = "local")]
            StoreAt::Sqlite(path) => Store::Sqlite(Arc::new(SqliteStore::open(path)?)),
            StoreAt::DynamoDb(table) => {
                let queue = SqsQueue::new(settings.queues.clone(), aws.clone());
                Store::DynamoDb(Arc::new(DynamoStore::new(table, queue.clone(), aws)), queue)
            }
        };
        Ok(Self { clock_rng, http, secrets, store })
    }

    /// The queue of identity events and jobs.
    #[must_use]
    pub fn queue(&self) -> Arc<dyn EventQueue> {
        match &self.store {
            #[cfg(feature = "local")]
            Store::Sqlite(store) => store.clone(),
            Store::DynamoDb(_, queue) => Arc::new(queue.clone()),
        }
    }

    /// The receiving end of the queue. `None` if the store is DynamoDB, because SQS then delivers the messages.
    #[must_use]
    pub fn inbox(&self) -> Option<Arc<dyn Inbox>> {
        match &self.store {
            #[cfg(feature = "local")]
            Store::Sqlite(store) => Some(store.inbox()),
            Store::DynamoDb(..) => None,
        }
    }

    /// Builds the client for Flex. It uses the account's credential.
    #[must_use]
    pub fn flex(&self, settings: &Common, credential: &CredentialSettings) -> Flex {
        let clock = self.clock_rng.clock.clone();
        let credentials = TwilioCredentials::new(&credential.secret_id, self.secrets.clone(), clock);
        let (account, instance) = (settings.account.clone(), settings.instance.clone());
        let endpoints = settings.endpoints.clone();
        Flex::new(self.http.clone(), endpoints, self.clock_rng.clone(), Arc::new(credentials), account, instance)
    }

    /// Builds the client for Flex's sign-in. It needs no credential.
    #[must_use]
    pub fn sso(&self, settings: &Common) -> Sso {
        let (account, instance) = (settings.account.clone(), settings.instance.clone());
        Sso::new(self.http.clone(), settings.endpoints.clone(), self.clock_rng.clone(), account, instance)
    }
}
