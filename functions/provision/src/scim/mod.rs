//! `/scim/v2`: SCIM 2.0 for identity systems.
//!
//! Translates HTTP to [`flexgate::scim`] and back. Every route stands behind one gate, which knows the
//! caller by its token, answers refusals as SCIM error bodies, and writes the one audit event.

mod answer;
mod body;
mod discovery;
mod gate;
mod groups;
pub(crate) mod openapi;
mod problem;
mod query;
mod search;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::Policy;
use flexgate::platform::Common;
use flexgate::platform::Platform;
use flexgate::scim::{Groups, ScimSettings, Tokens, Users};
use flexgate::users::Provisioning;

use answer::Answer;
use problem::Failure;

/// Where SCIM is served.
const BASE: &str = "/scim/v2";

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Scim {
    tokens: Tokens,
    users: Arc<Users>,
    groups: Groups,
    base: String,
    ambient: flexgate::base::ambient::Ambient,
}

impl Scim {
    pub(crate) fn new(
        settings: ScimSettings,
        common: &Common,
        policy: Policy,
        provisioning: Arc<Provisioning>,
        platform: &Platform,
    ) -> Arc<Self> {
        let base = format!("{}{BASE}", url::Url::as_str(&common.public_url).trim_end_matches('/'));
        let tokens = Tokens::new(&settings.tokens_secret_id, platform.secrets.clone(), &platform.ambient);
        let directory = platform.directory();
        let users = Users::new(base.clone(), provisioning, directory, settings, policy, platform.ambient.clone());
        let users = Arc::new(users);
        let groups = Groups::new(users.clone());
        Arc::new(Self { tokens, users, groups, base, ambient: platform.ambient.clone() })
    }

    pub(crate) async fn warm(&self, deadline: Deadline) {
        self.tokens.warm(deadline).await;
    }
}

/// The routes.
pub(crate) fn router(scim: Arc<Scim>) -> Router {
    let routes = Router::new()
        .route("/Users", get(users::list).post(users::create))
        .route("/Users/.search", post(users::search))
        .route("/Users/{id}", get(users::show).put(users::replace).patch(users::patch).delete(users::delete))
        .route("/Groups", get(groups::list).post(groups::create))
        .route("/Groups/.search", post(groups::search))
        .route("/Groups/{id}", get(groups::show).put(groups::replace).patch(groups::patch).delete(groups::delete))
        .route("/.search", post(search::everything))
        .route("/ServiceProviderConfig", get(discovery::config))
        .route("/ResourceTypes", get(discovery::resource_types))
        .route("/ResourceTypes/{id}", get(discovery::resource_type))
        .route("/Schemas", get(discovery::schemas))
        .route("/Schemas/{id}", get(discovery::schema))
        .route("/Bulk", any(unsupported))
        .route("/Me", any(unknown))
        .route("/{*rest}", any(unknown))
        .method_not_allowed_fallback(refuse_method);
    let gated = routes.layer(from_fn_with_state(scim.clone(), gate::gate)).with_state(scim);
    Router::new().nest(BASE, gated)
}

async fn unsupported() -> Result<Answer, Failure> {
    Err(Failure::unsupported())
}

async fn unknown() -> Result<Answer, Failure> {
    Err(Failure::unknown())
}

async fn refuse_method() -> Result<Answer, Failure> {
    Err(Failure::method_not_allowed())
}
