//! The settings and clients of the operator commands, from the same environment variables as `flexgate serve --live`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use flexgate::authn::{CallerSettings, Verifier};
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::{Deadline, HttpClient};
use flexgate::base::settings::Reader;
use flexgate::domain::policy::Policy;
use flexgate::domain::{EventId, FlexUser, FlexUserSid, Username};
use flexgate::platform::{Common, Platform};
use flexgate::secrets::{HeldCredential, SecretError, TwilioCredentials};
use flexgate::store::EventQueue;
use flexgate::twilio::{CredentialSettings, Flex, Sso};
use flexgate::users::ledger::Ledger;
use flexgate::users::{PolicySettings, Provisioning, in_full};

use crate::audit::Trail;

/// The time limit for a call to Twilio, including retries.
const PATIENCE: Duration = Duration::from_secs(30);

/// The settings, clients and stores of an operator command.
pub struct Operator {
    /// The settings common to every function.
    pub common: Common,
    /// The allowed roles, and the maximum lifetime of tokens.
    pub policy: Policy,
    settings: PolicySettings,
    /// Records what the operator does.
    pub trail: Trail,
    platform: Platform,
    credential: CredentialSettings,
}

impl Operator {
    /// Reads the environment. The error lists every mistake in the settings.
    pub fn from_environment() -> Result<Self, Box<dyn Error>> {
        let mut reader = Reader::of_process();
        let (common, credential) = (Common::read(&mut reader), CredentialSettings::read(&mut reader));
        let policy = PolicySettings::read(&mut reader);
        let settings = || Some((common?, credential?, policy?));
        let (common, credential, policy) = reader.finish(settings())?;
        let platform = Platform::new(&common, ClockRng::system())?;
        let trail = Trail::open()?;
        Ok(Self { common, policy: policy.policy.clone(), settings: policy, trail, platform, credential })
    }

    /// Returns a Flex client with the account's credential.
    pub fn flex(&self) -> Flex {
        self.platform.flex(&self.common, &self.credential)
    }

    /// An SSO client. It needs no credential.
    pub fn sso(&self) -> Sso {
        self.platform.sso(&self.common)
    }

    /// Returns the account's credential, for requests that the Flex client cannot send.
    pub async fn credential(&self) -> Result<HeldCredential, SecretError> {
        let (source, clock) = (self.platform.secrets.clone(), self.clock_rng().clock.clone());
        TwilioCredentials::new(&self.credential.secret_id, source, clock).current(deadline()).await
    }

    /// Returns the HTTP client.
    pub fn http(&self) -> &HttpClient {
        &self.platform.http
    }

    /// Returns the people ledger with the gateway's rules. The ledger changes users through `flex`.
    pub fn ledger(&self, flex: Flex) -> Ledger {
        let provisioning = Provisioning::new(Arc::new(flex), self.platform.sessions(), self.platform.bindings());
        Ledger::of_platform(&self.platform, Arc::new(provisioning), &self.settings)
    }

    /// A verifier of callers' tokens, with the issuers in `FLEXGATE_ISSUERS`.
    pub fn verifier(&self) -> Result<Verifier, Box<dyn Error>> {
        let mut reader = Reader::of_process();
        let caller = CallerSettings::read(&mut reader);
        let caller = reader.finish(caller)?;
        Ok(Verifier::new(caller.issuers, self.platform.http.clone(), self.clock_rng().clone()))
    }

    /// The queue for jobs.
    pub fn queue(&self) -> Arc<dyn EventQueue> {
        self.platform.queue()
    }

    /// Returns a new id for this command. The command's statements in the ledger contain the id.
    pub fn cause(&self) -> EventId {
        EventId::from(u128::from_be_bytes(self.clock_rng().random()))
    }

    /// The clock and the source of randomness.
    pub fn clock_rng(&self) -> &ClockRng {
        &self.platform.clock_rng
    }

    /// Returns a user by SID or by username. If Twilio's search omits fields, fetches the whole user.
    pub async fn user(&self, name: &str) -> Result<FlexUser, Box<dyn Error>> {
        let flex = self.flex();
        if let Ok(sid) = name.parse::<FlexUserSid>() {
            return Ok(flex.get(&sid, deadline()).await?);
        }
        let username: Username = name.parse().map_err(|error| format!("the username {error}"))?;
        let found = flex.find(&username, deadline()).await?;
        let found = found.ok_or("there is no Flex user of that username (a username is not an e-mail address)")?;
        Ok(in_full(&flex, found, deadline()).await?)
    }
}

/// The deadline of one call.
pub fn deadline() -> Deadline {
    Deadline::after(PATIENCE)
}
