//! The function's parts, put together.

use std::sync::Arc;

use flexgate::authn::Verifier;
use flexgate::base::ambient::Ambient;
use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::Policy;
use flexgate::platform::Platform;
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;

use crate::scim::Scim;
use crate::settings::Settings;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    pub(crate) verifier: Verifier,
    pub(crate) policy: Policy,
    pub(crate) provisioning: Arc<Provisioning>,
    pub(crate) ledger: Ledger,
    pub(crate) ambient: Ambient,
    pub(crate) scim: Option<Arc<Scim>>,
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let Settings { owner, scim } = settings;
        let flex = Arc::new(platform.flex(&owner.common, &owner.credential));
        let provisioning = Provisioning::new(flex, platform.sessions(), platform.bindings());
        let provisioning = Arc::new(provisioning);
        let policy = owner.policy.policy.clone();
        let ledger = Ledger::of_platform(platform, provisioning.clone(), &owner.policy);
        let scim = scim
            .clone()
            .map(|scim| Scim::new(scim, &owner.common, &owner.policy, provisioning.clone(), ledger.clone(), platform));
        Arc::new(Self {
            verifier: Verifier::new(owner.caller.issuers.clone(), platform.http.clone(), platform.ambient.clone()),
            policy,
            provisioning,
            ledger,
            ambient: platform.ambient.clone(),
            scim,
        })
    }

    /// Fetches ahead what the first request needs: the issuers' keys, the Twilio credential and, where
    /// SCIM is served, the hashes of its tokens.
    pub async fn warm(&self, deadline: Deadline) {
        let scim = async {
            if let Some(scim) = &self.scim {
                scim.warm(deadline).await;
            }
        };
        tokio::join!(self.verifier.warm(deadline), self.provisioning.warm(deadline), scim);
    }
}
