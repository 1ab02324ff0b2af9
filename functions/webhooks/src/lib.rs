//! `/webhooks/{source}`: what identity systems say, verified, put into one shape, and queued.
//!
//! Nothing is believed before its source has proven it over the raw bytes, and nothing is acknowledged
//! before the queue has it. Twilio is never asked here: a delivery is answered in milliseconds.

mod deliver;
mod mapping;
mod openapi;
mod problem;
mod proof;
mod secrets;
mod settings;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use flexgate::base::ambient::Ambient;
use flexgate::base::outbound::Deadline;
use flexgate::domain::SourceName;
use flexgate::platform::Platform;
use flexgate::secrets::{CachedSecret, SecretError};
use flexgate::store::EventQueue;
use flexgate::web::refuse_method;

pub use openapi::document as openapi;
pub use secrets::{DocumentFault, WebhookSecrets};
pub use settings::{Settings, SourceFault, WebhookSettings};

use source::Named;

/// The largest delivery that is read, in bytes. Identity systems send one event, or a few dozen.
pub const MAX_DELIVERY: usize = 256 * 1024;

/// Reading the secrets at the start may take this long.
const START: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    sources: BTreeMap<SourceName, Named>,
    secrets: CachedSecret<WebhookSecrets>,
    queue: Arc<dyn EventQueue>,
    ambient: Ambient,
}

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The document is not one, or its secrets are no secrets.
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
    /// The function over a platform. Reads the secrets once: without good ones it does not start. If
    /// they cannot be read just now, it does, and answers 503 until they can.
    pub async fn start(settings: &WebhookSettings, platform: &Platform) -> Result<Arc<Self>, StartError> {
        Self::start_within(START, settings, platform).await
    }

    /// The same with `time` for reading the secrets; where that is zero, the first delivery reads them.
    pub async fn start_within(
        time: Duration,
        settings: &WebhookSettings,
        platform: &Platform,
    ) -> Result<Arc<Self>, StartError> {
        let clock = platform.ambient.clock.clone();
        let app = Self {
            sources: settings.sources.iter().map(|(name, one)| (name.clone(), one.build())).collect(),
            secrets: CachedSecret::new(&settings.secret_id, platform.secrets.clone(), clock),
            queue: platform.queue(),
            ambient: platform.ambient.clone(),
        };
        if !app.sources.is_empty() && !time.is_zero() {
            app.check_secrets(Deadline::after(time)).await?;
        }
        Ok(Arc::new(app))
    }

    async fn check_secrets(&self, deadline: Deadline) -> Result<(), StartError> {
        let held = match self.secrets.get(deadline).await {
            Ok(held) => held,
            Err(SecretError::Unreadable { source: flexgate::secrets::FetchError::Unavailable(_), .. }) => {
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

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/webhooks/{source}", post(deliver::receive).get(deliver::challenge).head(refuse_method))
        .with_state(app)
}
