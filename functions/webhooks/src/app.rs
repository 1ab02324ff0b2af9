//! Wires the function's parts together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::SourceName;
use flexgate::platform::Platform;
use flexgate::secrets::{CachedSecret, FetchError, SecretError};
use flexgate::store::{EventQueue, Notices};

use crate::secrets::WebhookSecrets;
use crate::settings::WebhookSettings;
use crate::sources::ConfiguredSource;

/// The time limit for reading the secrets at startup.
const START: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) sources: BTreeMap<SourceName, ConfiguredSource>,
    pub(crate) secrets: CachedSecret<WebhookSecrets>,
    pub(crate) queue: Arc<dyn EventQueue>,
    pub(crate) notices: Notices,
    pub(crate) clock_rng: ClockRng,
}

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secrets document is malformed, or one of its secrets is too weak.
    #[error("WEBHOOK_SECRETS_SECRET_ID names a secret that cannot be used")]
    Document(#[source] SecretError),
    /// A source has no secret.
    #[error("WEBHOOK_SECRETS_SECRET_ID names a document without a secret for the source {0}")]
    Missing(SourceName),
    /// A source cannot use its secret.
    #[error("WEBHOOK_SECRETS_SECRET_ID names a document whose secret for the source {0} {1}")]
    Unusable(SourceName, &'static str),
}

impl App {
    /// Builds the function on a platform and reads the sources' secrets. Malformed or weak secrets are an error.
    /// Unreachable secrets are not an error: the function starts, and answers 503 until it can read the secrets.
    pub async fn start(settings: &WebhookSettings, platform: &Platform) -> Result<Arc<Self>, StartError> {
        Self::start_within(START, settings, platform).await
    }

    /// Like [`Self::start`], with `time` as the limit for reading the secrets. If `time` is zero, the first delivery
    /// reads the secrets.
    pub async fn start_within(
        time: Duration,
        settings: &WebhookSettings,
        platform: &Platform,
    ) -> Result<Arc<Self>, StartError> {
        let clock = platform.clock_rng.clock.clone();
        let app = Self {
            sources: settings.sources.iter().map(|(name, one)| (name.clone(), ConfiguredSource::of(one))).collect(),
            secrets: CachedSecret::new(&settings.secret_id, platform.secrets.clone(), clock),
            queue: platform.queue(),
            notices: Notices::default(),
            clock_rng: platform.clock_rng.clone(),
        };
        if !app.sources.is_empty() && !time.is_zero() {
            app.check_secrets(Deadline::after(time)).await?;
        }
        Ok(Arc::new(app))
    }

    async fn check_secrets(&self, deadline: Deadline) -> Result<(), StartError> {
        let held = match self.secrets.get(deadline).await {
            Ok(held) => held,
            Err(SecretError::Unreadable { source: FetchError::Unavailable(_), .. }) => {
                tracing::warn!(secret = self.secrets.id(), "webhook secrets could not be checked at the start");
                return Ok(());
            }
            Err(error) => return Err(StartError::Document(error)),
        };
        for (name, source) in &self.sources {
            let secrets = held.value.of(name).ok_or_else(|| StartError::Missing(name.clone()))?;
            for secret in secrets {
                source.takes(secret).map_err(|why| StartError::Unusable(name.clone(), why))?;
            }
        }
        Ok(())
    }
}
