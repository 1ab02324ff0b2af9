//! Compares all Flex users with the people ledger, on a schedule. Queues a repair job for each user who differs from
//! the ledger. Also refreshes the index of usernames.

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::base::settings::Reader;
use flexgate::domain::FlexUserSid;
use flexgate::platform::{Common, Platform};
use flexgate::store::EventQueue;
use flexgate::telemetry;
use flexgate::twilio::CredentialSettings;
use flexgate::users::ledger::{Ledger, SweepError, SweepOptions};
use flexgate::users::{PolicySettings, Provisioning};
use serde_json::{Value, json};

/// The time limit for one page of Twilio's user list, including retries.
const PAGE_TIME: Duration = Duration::from_secs(30);

/// The maximum number of users in one log line.
const NAMED: usize = 20;

/// The function's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings common to every function.
    pub common: Common,
    /// The Twilio credential.
    pub credential: CredentialSettings,
    /// The policy: who may have which roles.
    pub policy: PolicySettings,
    /// `FLEXGATE_ORPHAN_DAYS`: if no source has made a statement about a Flex user, Flexgate deactivates the user at
    /// this age. `None` means never.
    pub orphans_after: Option<time::Duration>,
    /// `FLEXGATE_IDLE_DAYS`: an active user counts as idle if their worker's activity has not changed for this long.
    /// `None` means that Flexgate does not look for idle users.
    pub idle_after: Option<time::Duration>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, credential) = (Common::read(reader), CredentialSettings::read(reader));
        let policy = PolicySettings::read(reader);
        let days = |text: &str| {
            let days = text.parse().ok().filter(|days| (1..=3_650).contains(days));
            days.map(time::Duration::days).ok_or("must be a whole number from 1 to 3650")
        };
        let orphans_after = reader.optional("FLEXGATE_ORPHAN_DAYS", days);
        let idle_after = reader.optional("FLEXGATE_IDLE_DAYS", days);
        let (common, credential, policy) = (common?, credential?, policy?);
        Some(Self { common, credential, policy, orphans_after: orphans_after?, idle_after: idle_after? })
    }
}

/// What a sweep needs.
#[derive(Debug)]
pub struct App {
    ledger: Ledger,
    queue: Arc<dyn EventQueue>,
    orphans_after: Option<time::Duration>,
    idle_after: Option<time::Duration>,
}

impl App {
    /// Builds the function with the services of `platform`.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Self {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        let ledger = Ledger::of_platform(platform, provisioning, &settings.policy);
        Self { ledger, queue: platform.queue(), orphans_after: settings.orphans_after, idle_after: settings.idle_after }
    }

    /// Runs one sweep, whose requests to Twilio must end before `deadline`. Logs and returns the counts. If the sweep
    /// fails, the invocation fails too, which raises an alarm.
    pub async fn sweep(&self, deadline: Deadline) -> Result<Value, SweepError> {
        let each_call = || deadline.within(PAGE_TIME);
        let queue = Some(self.queue.as_ref());
        let options =
            SweepOptions { queue, limit: None, orphans_after: self.orphans_after, idle_after: self.idle_after };
        let swept = self.ledger.sweep(options, each_call, |_| {}).await;
        let swept = swept.inspect_err(|error| {
            tracing::error!(target: "flexgate::sweep", error = with_causes(error), "the sweep failed");
        })?;
        let (active, contested) = (swept.inactive_but_active, swept.contested.len());
        if active > 0 {
            // A possible cause: a person whom a source reports as inactive has signed in to Flex through Twilio's SSO,
            // and Twilio has reactivated the Flex user.
            tracing::warn!(target: "flexgate::sweep", users = active, "users whom a source holds inactive were active");
        }
        if contested > 0 {
            let users = swept.contested.iter().take(NAMED).map(FlexUserSid::as_str).collect::<Vec<_>>().join(" ");
            tracing::warn!(target: "flexgate::sweep", contested, users, "somebody else sets these anew whenever they are repaired");
        }
        telemetry::swept(active, contested);
        let found = json!({
            "users": swept.users, "active": swept.active, "orphans": swept.orphans.len(),
            "orphans_due": swept.orphans_due, "drifted": swept.drifted, "losing_access": swept.losing_access,
            "inactive_but_active": active, "contested": contested, "idle": swept.idle.len(), "unclear": swept.unclear,
            "missing": swept.missing, "queued": swept.queued,
        });
        tracing::info!(target: "flexgate::sweep", %found, "swept");
        Ok(found)
    }
}
