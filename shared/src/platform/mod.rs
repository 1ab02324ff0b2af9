//! Builds the services that the settings describe: the HTTP client, the source of secrets and the store.

mod settings;

use std::sync::Arc;

pub use settings::{Common, OwnerSettings};

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{ClientError, HttpClient, http_client};
use crate::lambda::Aws;
use crate::secrets::{FileSecrets, SecretSource, SecretsFrom, SecretsManager, TwilioCredentials};
#[cfg(feature = "local")]
use crate::store::SqliteStore;
use crate::store::{
    Bindings, Counters, Deactivations, DeadLetters, DynamoStore, EventHistory, EventQueue, Inbox, Notes, OnceOnly,
    People, ReturnAddresses, ScimStore, Seats, SessionEndings, SessionList, Sessions, SignInSwitch, SqsQueue, StoreAt,
    StoreError, UsernameIndex, WhoIsWho,
};
use crate::twilio::{CredentialSettings, Flex, Sso};

/// The services that a function uses. Building them does no network I/O.
///
/// The store has one trait for each kind of data. Each function requests only the traits that it uses, so the linker
/// leaves the code of the other traits out of the function's binary.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The clock and the random generator.
    pub clock_rng: ClockRng,
    /// The only HTTP client of the process.
    pub http: HttpClient,
    /// The source of secrets.
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
    /// Returns the store of sign-in sessions.
    sessions: Sessions;
    /// Returns the store that records each person's newest sign-in.
    seats: Seats;
    /// Returns the store that records when identity systems ended people's sessions.
    session_endings: SessionEndings;
    /// Returns the list of sessions, for administrators.
    session_list: SessionList;
    /// Returns the sign-in switch, with which operators end all sessions or stop all sign-ins.
    sign_in_switch: SignInSwitch;
    /// Returns the store that lets only one caller perform a given action.
    once_only: OnceOnly;
    /// Returns the store for the return addresses of pending logins.
    return_addresses: ReturnAddresses;
    /// Returns the counters. They count requests for rate limits, and the attempts to apply each message from SQS.
    counters: Counters;
    /// Returns the store of bindings between identities and Flex users.
    bindings: Bindings;
    /// Returns the dead letters: messages that could not be applied.
    dead_letters: DeadLetters;
    /// Returns the events that versions before 0.2.0 recorded.
    event_history: EventHistory;
    /// Returns the store for SCIM.
    scim: ScimStore;
    /// Returns the people ledger.
    people: People;
    /// Returns a view of the ledger that shows only which people are inactive.
    deactivations: Deactivations;
    /// Returns a view of the ledger that shows only people's usernames and Flex users.
    who_is_who: WhoIsWho;
    /// Returns the store of notes about requests that Flexgate refused and events that it ignored.
    notes: Notes;
    /// Returns the username index, which finds Flex users by username, regardless of case.
    usernames: UsernameIndex;
}

/// Why a service that the settings describe cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] ClientError),
    /// The store cannot be opened.
    #[error("the store (FLEXGATE_STORE) cannot be opened")]
    Store(#[from] StoreError),
}

impl Platform {
    /// Builds the platform that the settings describe.
    pub fn new(settings: &Common, clock_rng: ClockRng) -> Result<Self, PlatformError> {
        let http = http_client(&settings.extra_roots)?;
        let aws = Aws::new(http.clone());
        Self::with_aws(settings, clock_rng, http, aws)
    }

    /// Builds the platform that the settings describe, with this HTTP client and this configuration of the AWS clients.
    pub fn with_aws(settings: &Common, clock_rng: ClockRng, http: HttpClient, aws: Aws) -> Result<Self, PlatformError> {
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

    /// Builds a platform from these parts, for the simulation tests (`tests/simulation`).
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn simulated(
        clock_rng: ClockRng,
        http: HttpClient,
        secrets: Arc<dyn SecretSource>,
        store: SqliteStore,
    ) -> Self {
        Self { clock_rng, http, secrets, store: Store::Sqlite(Arc::new(store)) }
    }

    /// Returns the queue of identity events and jobs.
    #[must_use]
    pub fn queue(&self) -> Arc<dyn EventQueue> {
        match &self.store {
            #[cfg(feature = "local")]
            Store::Sqlite(store) => store.clone(),
            Store::DynamoDb(_, queue) => Arc::new(queue.clone()),
        }
    }

    /// Returns the receiving end of the queue. `None` if the store is DynamoDB, because SQS delivers the messages in
    /// that case.
    #[must_use]
    pub fn inbox(&self) -> Option<Arc<dyn Inbox>> {
        match &self.store {
            #[cfg(feature = "local")]
            Store::Sqlite(store) => Some(store.inbox()),
            Store::DynamoDb(..) => None,
        }
    }

    /// Returns the SQS queues. `None` if the store itself contains the queue.
    #[must_use]
    pub fn sqs(&self) -> Option<SqsQueue> {
        match &self.store {
            #[cfg(feature = "local")]
            Store::Sqlite(_) => None,
            Store::DynamoDb(_, queue) => Some(queue.clone()),
        }
    }

    /// Builds the client for Flex, which uses the account's credential.
    #[must_use]
    pub fn flex(&self, settings: &Common, credential: &CredentialSettings) -> Flex {
        let clock = self.clock_rng.clock.clone();
        let credentials = TwilioCredentials::new(&credential.secret_id, self.secrets.clone(), clock);
        let (account, instance) = (settings.account.clone(), settings.instance.clone());
        let endpoints = settings.endpoints.clone();
        Flex::new(self.http.clone(), endpoints, self.clock_rng.clone(), Arc::new(credentials), account, instance)
    }

    /// Builds the client for sign-in to Flex, which needs no credential.
    #[must_use]
    pub fn sso(&self, settings: &Common) -> Sso {
        let (account, instance) = (settings.account.clone(), settings.instance.clone());
        Sso::new(self.http.clone(), settings.endpoints.clone(), self.clock_rng.clone(), account, instance)
    }
}
