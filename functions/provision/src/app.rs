//! Wires the function's parts together.

use std::sync::Arc;

use flexgate::authn::Verifier;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::Policy;
use flexgate::platform::Platform;
use flexgate::store::{SessionEndings, SessionList};
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;

use crate::scim::Scim;
use crate::settings::Settings;

/// State shared by all handlers.
#[derive(Debug)]
pub struct App {
    pub(crate) verifier: Verifier,
    pub(crate) policy: Policy,
    pub(crate) provisioning: Arc<Provisioning>,
    pub(crate) session_list: Arc<dyn SessionList>,
    pub(crate) session_endings: Arc<dyn SessionEndings>,
    pub(crate) ledger: Ledger,
    pub(crate) clock_rng: ClockRng,
    pub(crate) scim: Option<Arc<Scim>>,
}

impl App {
    /// Builds the function on a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let Settings { owner, scim } = settings;
        let flex = Arc::new(platform.flex(&owner.common, &owner.credential));
        let provisioning = Provisioning::new(flex, platform.sessions(), platform.bindings());
        let provisioning = Arc::new(provisioning);
        let policy = owner.policy.policy.clone();
        let ledger = Ledger::of_platform(platform, provisioning.clone(), &owner.policy);
        let issuers = || owner.caller.issuers.clone();
        let scim = scim.clone().map(|scim| {
            let (provisioning, ledger) = (provisioning.clone(), ledger.clone());
            Scim::new(scim, &owner.common, &owner.policy, provisioning, ledger, platform, issuers())
        });
        Arc::new(Self {
            verifier: Verifier::new(issuers(), platform.http.clone(), platform.clock_rng.clone()),
            policy,
            provisioning,
            session_list: platform.session_list(),
            session_endings: platform.session_endings(),
            ledger,
            clock_rng: platform.clock_rng.clone(),
            scim,
        })
    }

    /// Prefetches the issuers' keys, the Twilio credential and, if SCIM is served, the hashes of the SCIM tokens.
    pub async fn prewarm(&self, deadline: Deadline) {
        let scim = async {
            if let Some(scim) = &self.scim {
                scim.prewarm(deadline).await;
            }
        };
        tokio::join!(self.verifier.prewarm(deadline), self.provisioning.prewarm(deadline), scim);
    }
}
