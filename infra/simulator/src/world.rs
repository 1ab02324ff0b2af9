//! The simulator's whole state, behind one lock. While one request changes the state, no other request sees a part of
//! the change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::clock;
use crate::database::Database;
use crate::faults::Fault;
use crate::idp::Idp;
use crate::idp::keys::KeyRing;
use crate::journal::Journal;
use crate::lasting::Lasting;
use crate::persist::Store;
use crate::simulator::StartError;
use crate::switches::Switches;
use crate::twilio::bridge::WorkerEvent;
use crate::twilio::credentials::Credentials;
use crate::twilio::jwe::TokenKey;
use crate::twilio::sso::Sso;
use crate::twilio::tasks::Tasks;

pub(crate) struct World {
    /// The HTTP base URL, without a trailing slash.
    pub(crate) url: String,
    pub(crate) token_key: TokenKey,
    pub(crate) store: Store,
    pub(crate) events: broadcast::Sender<WorkerEvent>,
    pub(crate) stop: watch::Receiver<bool>,
    initial_trusted: Vec<String>,
    initial_switches: Switches,
    initial_keys: KeyRing,
    state: Mutex<State>,
}

pub(crate) struct State {
    /// A test's clock in seconds since the epoch, before `clock_offset` is added. `None` means the machine's clock.
    pub(crate) clock: Option<Arc<dyn Fn() -> i64 + Send + Sync>>,
    pub(crate) clock_offset: i64,
    pub(crate) switches: Switches,
    pub(crate) faults: Vec<Fault>,
    pub(crate) journal: Journal,
    pub(crate) credentials: Credentials,
    pub(crate) trusted_urls: Vec<String>,
    pub(crate) idp: Idp,
    /// State that survives a restart.
    pub(crate) lasting: Lasting,
    pub(crate) sso: Sso,
    pub(crate) tasks: Tasks,
    /// The database for `lasting`, or `None` without a data directory.
    pub(crate) database: Option<Database>,
}

impl State {
    fn initial(trusted_urls: Vec<String>, switches: Switches, keys: KeyRing) -> Self {
        Self {
            clock: None,
            clock_offset: 0,
            switches,
            faults: Vec::new(),
            journal: Journal::default(),
            credentials: Credentials::default(),
            trusted_urls,
            idp: Idp::new(keys),
            lasting: Lasting::default(),
            sso: Sso::default(),
            tasks: Tasks::default(),
            database: None,
        }
    }

    /// The time on the simulator's clock, in seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        let unshifted = self.clock.as_ref().map_or_else(|| clock::machine_millis().div_euclid(1000), |clock| clock());
        unshifted + self.clock_offset
    }
}

impl World {
    pub(crate) fn new(
        url: String,
        store: Store,
        trusted_urls: Vec<String>,
        switches: Switches,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let keys = KeyRing::load_or_generate(&store)?;
        Self::with_keys(url, store, trusted_urls, switches, stop, keys)
    }

    pub(crate) fn with_keys(
        url: String,
        store: Store,
        trusted_urls: Vec<String>,
        switches: Switches,
        stop: watch::Receiver<bool>,
        keys: KeyRing,
    ) -> Result<Self, StartError> {
        let token_key = TokenKey::load_or_generate(&store)?;
        let mut state = State::initial(trusted_urls.clone(), switches.clone(), keys.clone());
        if let Some((database, lasting)) = Database::open(&store)? {
            state.database = Some(database);
            state.lasting = lasting;
        }
        Ok(Self {
            url,
            token_key,
            store,
            events: broadcast::channel(256).0,
            stop,
            initial_trusted: trusted_urls,
            initial_switches: switches,
            initial_keys: keys,
            state: Mutex::new(state),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn issuer(&self) -> String {
        format!("{}/idp", self.url)
    }

    /// Restores the initial state. Removes all users, teams and sessions, and the record of revoked tokens. Restores
    /// the initial keys, trusted URLs and switches.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        *state = State {
            clock: state.clock.take(),
            lasting: Lasting::emptied(),
            database: state.database.take(),
            ..State::initial(self.initial_trusted.clone(), self.initial_switches.clone(), self.initial_keys.clone())
        };
        drop(state);
        if let Err(error) = self.initial_keys.save(&self.store) {
            tracing::error!(%error, "the signing keys could not be saved");
        }
        self.save();
    }

    /// Writes the changed rows in one transaction. No answer is sent before the transaction is complete, so a killed
    /// process loses no confirmed change.
    pub(crate) fn save(&self) {
        let mut state = self.state();
        let State { lasting, database, .. } = &mut *state;
        if lasting.is_saved() {
            return;
        }
        if let Some(database) = database
            && let Err(error) = database.save(lasting)
        {
            // The rows stay marked as changed, so the next save writes them too.
            tracing::error!(%error, "the simulator's state could not be saved");
            return;
        }
        lasting.mark_saved();
    }
}
