//! Builds the minting function from its settings and the platform's services.

use std::sync::Arc;

use flexgate::authn::Verifier;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::platform::{OwnerSettings, Platform};
use flexgate::store::CachedSignInState;
use flexgate::users::Provisioning;

use crate::minting::Minting;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) verifier: Verifier,
    pub(crate) minting: Minting,
    pub(crate) clock_rng: ClockRng,
}

impl App {
    /// Builds the function with the services of `platform`.
    #[must_use]
    pub fn new(settings: &OwnerSettings, platform: &Platform) -> Arc<Self> {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let provisioning = Arc::new(Provisioning::new(flex, platform.sessions(), platform.bindings()));
        let sign_in_state = CachedSignInState::new(platform.sign_in_switch(), platform.clock_rng.clock.clone());
        Arc::new(Self {
            verifier: Verifier::new(settings.caller.issuers.clone(), platform.http.clone(), platform.clock_rng.clone()),
            minting: Minting::new(&settings.policy, platform, provisioning, sign_in_state),
            clock_rng: platform.clock_rng.clone(),
        })
    }

    /// Prefetches the issuers' keys and the Twilio credential.
    pub async fn prewarm(&self, deadline: Deadline) {
        tokio::join!(self.verifier.prewarm(deadline), self.minting.prewarm(deadline));
    }
}
