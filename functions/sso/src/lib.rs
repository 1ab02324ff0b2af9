//! Sign-in: login, callback, token, validate, logout.
//!
//! Translates HTTP to [`flexgate::signin`] and back. Holds no Twilio credential and cannot get one.

mod browser;
mod cookies;
mod openapi;
mod problem;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use flexgate::base::outbound::Deadline;
use flexgate::platform::Platform;
use flexgate::secrets::CachedSecret;
use flexgate::settings::{Common, Reader, SignInSettings};
use flexgate::signin::{SignIn, SignInParts};
use flexgate::twilio::Sso;
use flexgate::web::{Origins, refuse_method};
pub use openapi::document as openapi;

/// What this function is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What every function is told.
    pub common: Common,
    /// Sign-in.
    pub sign_in: SignInSettings,
}

impl Settings {
    /// Reads them.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, sign_in) = (Common::read(reader), SignInSettings::read(reader));
        Some(Self { common: common?, sign_in: sign_in? })
    }
}

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    sign_in: SignIn,
    /// For Option 2: a hosted-Flex token is checked without a session.
    sso: Sso,
    origins: Origins,
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let Settings { common, sign_in } = settings;
        let clock = platform.ambient.clock.clone();
        Arc::new(Self {
            sign_in: SignIn::new(SignInParts {
                profiles: sign_in.profiles.clone(),
                public_url: common.public_url.clone(),
                lifetimes: sign_in.lifetimes,
                sso: platform.sso(common),
                keys: CachedSecret::new(&sign_in.cookie_keys_secret_id, platform.secrets.clone(), clock),
                sessions: platform.sessions(),
                claims: platform.claims(),
                ambient: platform.ambient.clone(),
            }),
            sso: platform.sso(common),
            origins: Origins::new(common),
        })
    }

    /// Fetches ahead what the first request needs: the cookie keys.
    pub async fn warm(&self, deadline: Deadline) {
        self.sign_in.warm(deadline).await;
    }
}

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        // A HEAD must not begin a login: it would set a cookie nobody asked for.
        .route("/sso/{profile}/login", get(browser::login).head(refuse_method))
        .route("/sso/{profile}/callback", get(browser::callback).head(refuse_method))
        .route("/sso/{profile}/config", get(browser::config))
        .route("/sso/token", post(token::token))
        .route("/sso/validate", post(token::validate))
        .route("/sso/logout", post(token::logout))
        .with_state(app)
}
