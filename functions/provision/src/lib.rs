//! `/users`: Flex users provisioned, looked up and deprovisioned by trusted systems.
//!
//! Translates HTTP to [`flexgate::provisioning`] and back.

mod problem;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use flexgate::caller::Verifier;
use flexgate::domain::policy::Policy;
use flexgate::platform::Platform;
use flexgate::provisioning::Provisioning;
pub use flexgate::settings::OwnerSettings as Settings;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    verifier: Verifier,
    policy: Policy,
    provisioning: Provisioning,
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        Arc::new(Self {
            verifier: Verifier::new(settings.caller.issuers.clone(), platform.http.clone(), platform.ambient.clone()),
            policy: settings.policy.policy.clone(),
            provisioning: Provisioning::new(flex, platform.sessions.clone(), platform.bindings.clone()),
        })
    }
}

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/users", post(users::provision).get(users::list))
        .route("/users/{flex_user_sid}", get(users::show).delete(users::deprovision))
        .with_state(app)
}
