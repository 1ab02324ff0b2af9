//! Builds the sign-in function from its settings and the platform's services.

use std::sync::Arc;

use flexgate::base::outbound::Deadline;
use flexgate::platform::Platform;
use flexgate::secrets::CachedSecret;
use flexgate::store::CachedSignInState;
use flexgate::twilio::Sso;
use flexgate::web::Origins;

use crate::settings::Settings;
use crate::signin::{SignIn, SignInParts};

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) sign_in: Arc<SignIn>,
    /// Validates tokens from hosted Flex, for `POST /sso/validate`.
    pub(crate) sso: Sso,
    pub(crate) origins: Origins,
    /// Whether every request comes through the CDN. If so, browsers always use the public URL, so Flexgate need not
    /// check which host they use.
    pub(crate) behind_cdn: bool,
}

impl App {
    /// Builds the function with the services of `platform`.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let Settings { common, sign_in } = settings;
        let clock = platform.clock_rng.clock.clone();
        Arc::new(Self {
            sign_in: Arc::new(SignIn::new(SignInParts {
                profiles: sign_in.profiles.clone(),
                public_url: common.public_url.clone(),
                destinations: sign_in.destinations.clone(),
                policies: sign_in.policies.clone(),
                stored_address: sign_in.stored_address,
                sso: platform.sso(common),
                keys: CachedSecret::new(&sign_in.cookie_keys_secret_id, platform.secrets.clone(), clock.clone()),
                sessions: platform.sessions(),
                seats: platform.seats(),
                sign_in_state: CachedSignInState::new(platform.sign_in_switch(), clock),
                endings: platform.session_endings(),
                once_only: platform.once_only(),
                return_addresses: platform.return_addresses(),
                deactivations: platform.deactivations(),
                queue: platform.queue(),
                clock_rng: platform.clock_rng.clone(),
            })),
            sso: platform.sso(common),
            origins: Origins::new(common),
            behind_cdn: common.cdn.is_required(),
        })
    }

    /// Reads the cookie keys before the first request.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.sign_in.prewarm(deadline).await;
    }
}
