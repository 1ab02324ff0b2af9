//! The clients for Twilio Flex: users, tokens and SSO.
//!
//! [`Flex`] has the account's credential. It provisions and finds users, and mints tokens. [`Sso`] has no credential.
//! It exchanges codes, and refreshes and checks tokens. The sign-in function uses only [`Sso`].
//!
//! `docs/architecture.md` describes the endpoints of the Flex API's version 4. Until Flexgate has checked an answer, it
//! treats every field of the answer as optional.

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

pub use endpoints::{Endpoints, EndpointsError, Service, is_loopback};
pub use error::{ApiError, TwilioError};
pub use probe::RedirectUrl;
pub use settings::{CredentialSettings, endpoints};
pub use sso::{Authorization, SsoConfiguration, SsoTokens};
pub use tokens::{MintedToken, TokenInfo};
pub use users::{Instance, UserPage, UserUpdate};
pub use workers::{WorkerPage, WorkerStatus};

use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{Deadline, HttpClient};
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
    /// Creates a client for one instance of one account. Sends nothing.
    #[must_use]
    pub fn new(
        http: HttpClient,
        endpoints: Endpoints,
        clock_rng: ClockRng,
        credentials: Arc<TwilioCredentials>,
        account: AccountSid,
        instance: InstanceSid,
    ) -> Self {
        Self { sender: Sender::new(http, endpoints, clock_rng), credentials, account, instance }
    }

    /// Turns off retries. A caller that limits its own request rate uses this, because it must see every refusal.
    #[must_use]
    pub fn asking_once(mut self) -> Self {
        self.sender = self.sender.asking_once();
        self
    }

    /// Reads the credential in advance, so that the first call need not wait. If the credential cannot be read, the
    /// first call tries again.
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
    /// Creates a client for one instance of one account. Sends nothing.
    #[must_use]
    pub fn new(
        http: HttpClient,
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
