//! Everything the simulator knows, behind one lock: a request is performed whole, so
//! concurrent requests see each other's effects in some order and never halfway.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

use crate::clock;
use crate::faults::Fault;
use crate::idp::Idp;
use crate::idp::keys::KeyRing;
use crate::journal::Journal;
use crate::persist::Store;
use crate::simulator::StartError;
use crate::switches::Switches;
use crate::twilio::bridge::WorkerEvent;
use crate::twilio::credentials::Credentials;
use crate::twilio::directory::Directory;
use crate::twilio::jwe::TokenKey;
use crate::twilio::sso::Sso;

const STATE_FILE: &str = "state.json";

pub(crate) struct World {
    /// The HTTP base URL, no trailing slash.
    pub(crate) url: String,
    pub(crate) token_key: TokenKey,
    pub(crate) store: Store,
    pub(crate) events: broadcast::Sender<WorkerEvent>,
    pub(crate) stop: watch::Receiver<bool>,
    initial_trusted: Vec<String>,
    initial_keys: KeyRing,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) clock_offset: i64,
    pub(crate) switches: Switches,
    pub(crate) faults: Vec<Fault>,
    pub(crate) journal: Journal,
    pub(crate) credentials: Credentials,
    pub(crate) trusted_urls: Vec<String>,
    pub(crate) idp: Idp,
    /// What outlives a restart.
    pub(crate) lasting: Lasting,
    pub(crate) sso: Sso,
    /// Set by whoever changes `lasting`.
    pub(crate) unsaved: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lasting {
    pub(crate) directory: Directory,
    pub(crate) sessions: Vec<crate::twilio::sso::Session>,
    /// `jti` of tokens revoked through the control API.
    pub(crate) revoked: HashSet<String>,
}

impl State {
    fn initial(trusted_urls: Vec<String>, keys: KeyRing) -> Self {
        Self {
            clock_offset: 0,
            switches: Switches::default(),
            faults: Vec::new(),
            journal: Journal::default(),
            credentials: Credentials::default(),
            trusted_urls,
            idp: Idp::new(keys),
            lasting: Lasting::default(),
            sso: Sso::default(),
            unsaved: false,
        }
    }

    /// Seconds since the epoch on the simulator's clock.
    pub(crate) fn now(&self) -> i64 {
        clock::machine_millis().div_euclid(1000) + self.clock_offset
    }
}

impl World {
    pub(crate) fn new(
        url: String,
        store: Store,
        trusted_urls: Vec<String>,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let keys = KeyRing::load_or_generate(&store)?;
        let token_key = TokenKey::load_or_generate(&store)?;
        let mut state = State::initial(trusted_urls.clone(), keys.clone());
        if let Some(text) = store.read(STATE_FILE)? {
            state.lasting = serde_json::from_str(&text).map_err(|_| store.corrupt(STATE_FILE))?;
        }
        Ok(Self {
            url,
            token_key,
            store,
            events: broadcast::channel(256).0,
            stop,
            initial_trusted: trusted_urls,
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

    /// Everything as it was at the first start.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        *state = State::initial(self.initial_trusted.clone(), self.initial_keys.clone());
        state.unsaved = true;
        drop(state);
        if let Err(error) = self.initial_keys.save(&self.store) {
            tracing::error!(%error, "the signing keys could not be saved");
        }
        self.save();
    }

    /// Writes what outlives a restart, if it changed.
    pub(crate) fn save(&self) {
        let mut state = self.state();
        // Without a place to keep it, writing everything down for each change is for nothing.
        if !std::mem::take(&mut state.unsaved) || !self.store.keeps() {
            return;
        }
        let written = serde_json::to_string(&state.lasting)
            .map_err(|error| error.to_string())
            .and_then(|text| self.store.write(STATE_FILE, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(error, "the simulator's state could not be saved");
        }
    }
}
