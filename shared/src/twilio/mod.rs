//! The Flex client: users, tokens, SSO, over one HTTP sender.
//!
//! Two clients, split by what they hold. [`Flex`] has the account's credential and provisions, looks
//! up and mints. [`Sso`] has none and cannot get any: it exchanges codes, refreshes and checks tokens,
//! which prove themselves. The sign-in function is given only the second.
//!
//! The v4 endpoints are in no Twilio helper library; `docs/architecture.md` says what is certain about
//! them. Every field of every answer is optional to this client until it has checked it.

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

/// Flex as the account's owner sees it: needs the Twilio credential.
#[derive(Debug)]
pub struct Flex {
    sender: Sender,
    credentials: Arc<TwilioCredentials>,
    account: AccountSid,
    instance: InstanceSid,
}

impl Flex {
    /// A client for one instance of one account. Nothing is sent yet.
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

    /// The same client, which asks once and never again: for a caller that paces itself, as a bulk
    /// import does, and so must see every refusal.
    #[must_use]
    pub fn asking_once(mut self) -> Self {
        self.sender = self.sender.asking_once();
        self
    }

    /// Reads the credential, so that the first call need not wait for it. If that fails, the call does it.
    pub async fn prewarm(&self, deadline: Deadline) {
        let _read = self.credentials.current(deadline).await;
    }

    /// The account this client belongs to.
    #[must_use]
    pub fn account(&self) -> &AccountSid {
        &self.account
    }

    /// The Flex instance this client belongs to.
    #[must_use]
    pub fn instance(&self) -> &InstanceSid {
        &self.instance
    }
}

/// Flex as a browser that signs in sees it: needs no credential.
#[derive(Debug)]
pub struct Sso {
    sender: Sender,
    account: AccountSid,
    instance: InstanceSid,
}

impl Sso {
    /// A client for one instance of one account. Nothing is sent yet.
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

    /// The account this client belongs to.
    #[must_use]
    pub fn account(&self) -> &AccountSid {
        &self.account
    }

    /// The Flex instance this client belongs to.
    #[must_use]
    pub fn instance(&self) -> &InstanceSid {
        &self.instance
    }
}
