//! Sweeps Flex on a schedule: refreshes the index of usernames, and has repaired by jobs whoever is not as the people
//! ledger says.

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::outbound::Deadline;
use flexgate::base::settings::Reader;
use flexgate::platform::{Common, Platform};
use flexgate::store::EventQueue;
use flexgate::twilio::CredentialSettings;
use flexgate::users::ledger::{Ledger, SweepError};
use flexgate::users::{PolicySettings, Provisioning};
use serde_json::{Value, json};

/// One page of Twilio's may take this long, with its repetitions.
const PAGE_TIME: Duration = Duration::from_secs(30);

/// What the function is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What every function is told.
    pub common: Common,
    /// The Twilio credential.
    pub credential: CredentialSettings,
    /// Who may have what.
    pub policy: PolicySettings,
}

impl Settings {
    /// Reads them.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, credential) = (Common::read(reader), CredentialSettings::read(reader));
        let policy = PolicySettings::read(reader);
        Some(Self { common: common?, credential: credential?, policy: policy? })
    }
}

/// What a sweep needs.
#[derive(Debug)]
pub struct App {
    ledger: Ledger,
    queue: Arc<dyn EventQueue>,
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Self {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        Self { ledger: Ledger::of_platform(platform, provisioning, &settings.policy), queue: platform.queue() }
    }

    /// Sweeps until `deadline`. What was found is logged and returned. An error is one of the function's, so that its
    /// alarm tells.
    pub async fn sweep(&self, deadline: Deadline) -> Result<Value, SweepError> {
        let each_call = || deadline.within(PAGE_TIME);
        let swept = self.ledger.sweep(Some(self.queue.as_ref()), None, each_call, |_| {}).await;
        let swept = swept.inspect_err(|error| {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(target: "flexgate::sweep", error = %error, cause, "nothing was repaired");
        })?;
        if swept.inactive_but_active > 0 {
            // Twilio's SSO brings back whomever the identity provider lets in.
            let users = swept.inactive_but_active;
            tracing::warn!(target: "flexgate::sweep", users, "users whom a source holds inactive were active");
        }
        let found = json!({
            "users": swept.users, "active": swept.active, "orphans": swept.orphans, "drifted": swept.drifted,
            "losing_access": swept.losing_access, "inactive_but_active": swept.inactive_but_active,
            "unclear": swept.unclear, "missing": swept.missing, "queued": swept.queued,
        });
        tracing::info!(target: "flexgate::sweep", %found, "swept");
        Ok(found)
    }
}
