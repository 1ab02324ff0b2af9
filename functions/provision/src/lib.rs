//! `/users` and `/scim/v2`: Flex users provisioned, looked up and deprovisioned by trusted systems.
//!
//! Translates HTTP to [`flexgate::users`] and [`flexgate::scim`] and back.

mod openapi;
mod problem;
mod scim;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use flexgate::authn::Verifier;
use flexgate::base::outbound::Deadline;
use flexgate::base::settings::Reader;
use flexgate::domain::policy::Policy;
use flexgate::platform::OwnerSettings;
use flexgate::platform::Platform;
use flexgate::scim::ScimSettings;
use flexgate::users::Provisioning;
pub use openapi::document as openapi;
use scim::Scim;

/// What the function is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What every function is told that acts for the account's owner.
    pub owner: OwnerSettings,
    /// How SCIM is served, if it is.
    pub scim: Option<ScimSettings>,
}

impl Settings {
    /// Reads the groups.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (owner, scim) = (OwnerSettings::read(reader), ScimSettings::read(reader));
        Some(Self { owner: owner?, scim: scim? })
    }
}

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    verifier: Verifier,
    policy: Policy,
    provisioning: Arc<Provisioning>,
    scim: Option<Arc<Scim>>,
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
        let scim =
            scim.clone().map(|scim| Scim::new(scim, &owner.common, policy.clone(), provisioning.clone(), platform));
        Arc::new(Self {
            verifier: Verifier::new(owner.caller.issuers.clone(), platform.http.clone(), platform.ambient.clone()),
            policy,
            provisioning,
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

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    let scim = app.scim.clone().map(scim::router).unwrap_or_default();
    Router::new()
        .route("/users", post(users::provision).get(users::list))
        .route("/users/{flex_user_sid}", get(users::show).delete(users::deprovision))
        .with_state(app)
        .merge(scim)
}
