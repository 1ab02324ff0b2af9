//! The clients for Twilio Flex: users, tokens and SSO.
//!
//! There are two clients, and only one of them has a credential. [`Flex`] has the account's credential. It provisions
//! and looks up users, and mints tokens. [`Sso`] has no credential and cannot get one. It exchanges codes, refreshes
//! tokens and checks tokens. For these requests, Twilio needs no proof other than the code or the token. The sign-in
//! function uses only [`Sso`].
//!
//! No Twilio helper library covers the v4 endpoints. `docs/architecture.md` says what is known for certain about them.
//! The clients treat every field of every answer as optional until they have checked it.

mod authorized;
mod endpoints;
mod error;
mod probe;
mod problem;
mod sender;
mod settings;
mod sso;
mod tokens;
mod users;
mod wire;
mod workers;

use std::sync::Arc;

pub use endpoints::{Endpoints, EndpointsError, is_loopback};
pub use error::{ApiError, TwilioError};
pub use probe::RedirectUrl;
pub use settings::{CredentialSettings, endpoints};
pub use sso::{Authorization, SsoConfiguration, SsoTokens};
pub use tokens::{MintedToken, TokenInfo};
pub use users::{Instance, UserPage, UserUpdate};
pub use workers::{WorkerPage, WorkerStatus};

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::Deadline;
use crate::domain::{AccountSid, InstanceSid};
use crate::secrets::TwilioCredentials;
use sender::Sender;

/// The client for operations that need the Twilio account's credential.
#[derive(Debug)]
pub struct Flex {
    sender: Sender,
    credentials: Arc<TwilioCredentials>,
    account: AccountSid,
    instance: InstanceSid,
}

impl Flex {
    /// Creates a client for one instance of one account. Nothing is sent yet.
    #[must_use]
    pub fn new(
        http: reqwest::Client,
        endpoints: Endpoints,
        clock_rng: ClockRng,
        credentials: Arc<TwilioCredentials>,
        account: AccountSid,
        instance: InstanceSid,
    ) -> Self {
        Self { sender: Sender::new(http, endpoints, clock_rng), credentials, account, instance }
    }

    /// Turns off retries. Callers that limit their own rate, such as a bulk import, need this, because they must see
    /// every refusal by Twilio.
    #[must_use]
    pub fn asking_once(mut self) -> Self {
        self.sender = self.sender.asking_once();
        self
    }

    /// Reads the credential before the first call needs it. If reading fails, the first call tries again.
    pub async fn prewarm(&self, deadline: Deadline) {
        let _read = self.credentials.current(deadline).await;
    }

    /// The account that this client belongs to.
    #[must_use]
    pub fn account(&self) -> &AccountSid {
        &self.account
    }

    /// The Flex instance that this client belongs to.
    #[must_use]
    pub fn instance(&self) -> &InstanceSid {
        &self.instance
    }
}

/// The client for sign-in. It needs no credential.
#[derive(Debug)]
pub struct Sso {
    sender: Sender,
    account: AccountSid,
    instance: InstanceSid,
}

impl Sso {
    /// Creates a client for one instance of one account. Nothing is sent yet.
    #[must_use]
    pub fn new(
        http: reqwest::Client,
        endpoints: Endpoints,
        clock_rng: ClockRng,
        account: AccountSid,
        instance: InstanceSid,
    ) -> Self {
        Self { sender: Sender::new(http, endpoints, clock_rng), account, instance }
    }

    /// The account that this client belongs to.
    #[must_use]
    pub fn account(&self) -> &AccountSid {
        &self.account
    }

    /// The Flex instance that this client belongs to.
    #[must_use]
    pub fn instance(&self) -> &InstanceSid {
        &self.instance
    }
}
