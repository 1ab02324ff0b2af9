//! Wires the SCIM parts together.

use std::sync::Arc;

use flexgate::authn::Issuer;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::platform::{Common, Platform};
use flexgate::store::{Notes, Notices};
use flexgate::users::ledger::Ledger;
use flexgate::users::{PolicySettings, Provisioning};

use super::groups::Groups;
use super::settings::ScimSettings;
use super::token::Tokens;
use super::users::Users;

/// The path that SCIM is served under.
pub(crate) const BASE: &str = "/scim/v2";

/// State shared by all handlers.
#[derive(Debug)]
pub(crate) struct Scim {
    pub(crate) tokens: Tokens,
    pub(crate) users: Arc<Users>,
    pub(crate) groups: Groups,
    pub(crate) base: String,
    pub(crate) notes: Arc<dyn Notes>,
    pub(crate) notices: Notices,
    pub(crate) clock_rng: ClockRng,
}

impl Scim {
    pub(crate) fn new(
        settings: ScimSettings,
        common: &Common,
        policy: &PolicySettings,
        provisioning: Arc<Provisioning>,
        ledger: Ledger,
        platform: &Platform,
        issuers: Vec<Issuer>,
    ) -> Arc<Self> {
        let base = format!("{}{BASE}", url::Url::as_str(&common.public_url).trim_end_matches('/'));
        let tokens = Tokens::new(&settings.tokens_secret_id, platform.secrets.clone(), &platform.clock_rng);
        let users = Users::new(base.clone(), provisioning, ledger, platform, settings, policy, issuers);
        let users = Arc::new(users);
        let groups = Groups::new(users.clone());
        let notes = platform.notes();
        Arc::new(Self {
            tokens,
            users,
            groups,
            base,
            notes,
            notices: Notices::default(),
            clock_rng: platform.clock_rng.clone(),
        })
    }

    pub(crate) async fn prewarm(&self, deadline: Deadline) {
        self.tokens.prewarm(deadline).await;
    }
}
