//! Wires the parts of the webhooks function together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::SourceName;
use flexgate::platform::Platform;
use flexgate::secrets::{CachedSecret, FetchError, SecretError};
use flexgate::store::{EventQueue, Notices, OnceOnly};
use flexgate::users::PeopleFinder;
use flexgate::web::Problem;
use secrecy::SecretString;

use crate::problem;
use crate::secrets::{SecretFault, WebhookSecrets};
use crate::settings::WebhookSettings;
use crate::signals::SignalSource;
use crate::sources::ConfiguredSource;

/// The time limit for reading the secrets when the gateway starts.
const START: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) sources: BTreeMap<SourceName, ConfiguredSource>,
    pub(crate) signals: BTreeMap<SourceName, SignalSource>,
    pub(crate) finder: PeopleFinder,
    pub(crate) once_only: Arc<dyn OnceOnly>,
    pub(crate) secrets: CachedSecret<WebhookSecrets>,
    pub(crate) queue: Arc<dyn EventQueue>,
    pub(crate) notices: Notices,
    pub(crate) clock_rng: ClockRng,
}

/// Why the gateway does not start. On Lambda, the function starts in spite of these errors.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret cannot be read, or is not a document of secrets.
    #[error("WEBHOOK_SECRETS_SECRET_ID names a secret that cannot be used")]
    Document(#[source] SecretError),
    /// The secret does not exist, or is empty.
    #[error("WEBHOOK_SECRETS_SECRET_ID names the secret {0}, which does not exist or is empty")]
    Unset(String),
    /// A source's secret is missing or unusable.
    #[error("WEBHOOK_SECRETS_SECRET_ID names a document that cannot be used")]
    Source(#[source] SecretFault),
    /// The document has an entry under a name that no source can have.
    #[error(
        "WEBHOOK_SECRETS_SECRET_ID names a document with a wrong name: a source's name has 1 to 32 lower-case letters, \
         digits and hyphens"
    )]
    Name,
}

impl App {
    /// Builds the function with the services of `platform`, without reading the sources' secrets yet.
    #[must_use]
    pub fn new(settings: &WebhookSettings, platform: &Platform) -> Arc<Self> {
        let clock = platform.clock_rng.clock.clone();
        Arc::new(Self {
            sources: settings.sources.iter().map(|(name, one)| (name.clone(), ConfiguredSource::of(one))).collect(),
            signals: settings
                .signals
                .iter()
                .map(|(name, one)| (name.clone(), SignalSource::new(name, one, platform)))
                .collect(),
            finder: PeopleFinder::of_platform(platform),
            once_only: platform.once_only(),
            secrets: CachedSecret::that_may_be_unset(&settings.secret_id, platform.secrets.clone(), clock),
            queue: platform.queue(),
            notices: Notices::default(),
            clock_rng: platform.clock_rng.clone(),
        })
    }

    /// Builds the function for the gateway, and checks the sources' secrets. A missing or unusable secret is an error.
    /// Unreachable secrets are not an error: the function starts, and answers 503 until it can read the secrets.
    pub async fn start(settings: &WebhookSettings, platform: &Platform) -> Result<Arc<Self>, StartError> {
        let app = Self::new(settings, platform);
        if !app.sources.is_empty() {
            app.check_secrets(Deadline::after(START)).await?;
        }
        Ok(app)
    }

    /// Prefetches the transmitters' keys and the sources' secrets, and logs from which sources Flexgate cannot accept
    /// deliveries yet. On AWS, the secret that the template creates is empty at first. So the function starts even if a
    /// source has no secret. Until an administrator adds the source's secret, only the deliveries of this source fail.
    pub async fn prewarm(&self, deadline: Deadline) {
        for source in self.signals.values() {
            source.transmitter().prewarm(deadline).await;
        }
        if self.sources.is_empty() {
            return;
        }
        let Ok(held) = self.secrets.get(deadline).await else { return };
        for (name, source) in &self.sources {
            if let Err(fault) = usable(name, source, &held.value) {
                tracing::warn!(secret = self.secrets.id(), fault = %fault, "a webhook source answers 503");
            }
        }
    }

    async fn check_secrets(&self, deadline: Deadline) -> Result<(), StartError> {
        let held = match self.secrets.get(deadline).await {
            Ok(held) if held.is_set() => held,
            Ok(_) => return Err(StartError::Unset(self.secrets.id().to_owned())),
            Err(SecretError::Unreadable { source: FetchError::Unavailable(_), .. }) => {
                tracing::warn!(secret = self.secrets.id(), "webhook secrets could not be checked at the start");
                return Ok(());
            }
            Err(error) => return Err(StartError::Document(error)),
        };
        for (name, source) in &self.sources {
            usable(name, source, &held.value).map_err(StartError::Source)?;
        }
        // Also check the entries of sources that are not configured, because such an entry may have a misspelt name.
        match held.value.mistake() {
            Some(fault) => Err(StartError::Source(fault.clone())),
            None if held.value.has_misnamed() => Err(StartError::Name),
            None => Ok(()),
        }
    }

    /// Returns the secrets of a source, for a delivery. If the source has no usable secret, or if its secrets do not
    /// authenticate the delivery, reads the secrets again, but at most once a minute. An administrator may have added
    /// the secret just now, and many sources never send a refused delivery again.
    pub(crate) async fn secrets_of(
        &self,
        name: &SourceName,
        source: &ConfiguredSource,
        proves: impl Fn(&[SecretString]) -> bool,
        deadline: Deadline,
    ) -> Result<Vec<SecretString>, Problem> {
        let accepts = |secrets: &WebhookSecrets| usable(name, source, secrets).is_ok_and(&proves);
        let held = self.secrets.get_accepted(deadline, accepts).await.map_err(|error| problem::no_secret(&error))?;
        let secrets = usable(name, source, &held.value).map_err(|fault| problem::no_secret(&fault))?;
        Ok(secrets.to_vec())
    }
}

/// Returns the secrets that authenticate the source's deliveries.
fn usable<'s>(
    name: &SourceName,
    source: &ConfiguredSource,
    secrets: &'s WebhookSecrets,
) -> Result<&'s [SecretString], SecretFault> {
    let secrets = secrets.of(name)?;
    match secrets.iter().find_map(|secret| source.takes(secret).err()) {
        Some(why) => Err(SecretFault::Unfit(name.clone(), why)),
        None => Ok(secrets),
    }
}
