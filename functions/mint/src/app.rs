//! The function's parts, put together.

use std::sync::Arc;

use flexgate::authn::Verifier;
use flexgate::base::outbound::Deadline;
use flexgate::platform::{OwnerSettings, Platform};

use crate::minting::Minting;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) verifier: Verifier,
    pub(crate) minting: Minting,
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &OwnerSettings, platform: &Platform) -> Arc<Self> {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let policy = settings.policy.policy.clone();
        Arc::new(Self {
            verifier: Verifier::new(settings.caller.issuers.clone(), platform.http.clone(), platform.ambient.clone()),
            minting: Minting::new(
                policy,
                settings.policy.mints_per_minute,
                flex,
                platform.bindings(),
                platform.counters(),
                platform.deactivations(),
                platform.ambient.clone(),
            ),
        })
    }

    /// Fetches ahead what the first request needs: the issuers' keys and the Twilio credential.
    pub async fn warm(&self, deadline: Deadline) {
        tokio::join!(self.verifier.warm(deadline), self.minting.warm(deadline));
    }
}
