//! `POST /token`: a Flex token for a caller who proves who they are.
//!
//! Translates HTTP to [`flexgate::minting`] and back.

mod problem;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flexgate::caller::Verifier;
use flexgate::domain::policy::MintRequest;
use flexgate::domain::{Caller, TokenTtl, TtlError, role_list};
use flexgate::http::{Context, Fields, Problem};
use flexgate::minting::{MintError, Minting};
use flexgate::platform::Platform;
pub use flexgate::settings::OwnerSettings as Settings;
use flexgate::telemetry::{Audit, Decision};
use flexgate::twilio::TokenInfo;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Serialize;
use time::OffsetDateTime;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    verifier: Verifier,
    minting: Minting,
}

impl App {
    /// The function over a platform.
    #[must_use]
    pub fn new(settings: &Settings, platform: &Platform) -> Arc<Self> {
        let flex = Arc::new(platform.flex(&settings.common, &settings.credential));
        let policy = settings.policy.policy.clone();
        Arc::new(Self {
            verifier: Verifier::new(settings.caller.issuers.clone(), platform.http.clone(), platform.ambient.clone()),
            minting: Minting::new(policy, flex, platform.bindings.clone(), platform.ambient.clone()),
        })
    }
}

/// The routes, without their edge.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/token", post(mint)).with_state(app)
}

/// What `POST /token` answers.
#[derive(Serialize)]
struct Minted<'a> {
    access_token: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    token_info: &'a TokenInfo,
}

async fn mint(State(app): State<Arc<App>>, context: Context, request: Request) -> Result<Response, Problem> {
    // Who is calling comes before what they ask for: a stranger learns nothing about the fields.
    let caller = app.verifier.verify(request.headers(), context.deadline).await.map_err(|error| {
        Audit { action: "mint", reason: Some("caller_unproven"), ..Audit::default() }
            .write(&context.request_id, Decision::Refused);
        Problem::from(&error)
    })?;
    let asked = read(Fields::read(request).await?)?;
    let minted = app.minting.mint(&caller, asked, context.deadline).await;
    audit(&caller, minted.as_ref().map(|minted| minted.info.flex_user_sid.as_str()), &context);
    let minted = minted.map_err(|error| problem::of(&error))?;
    let answer = Minted {
        access_token: minted.access_token.expose_secret(),
        expires_at: minted.info.expiration,
        token_info: &minted.info,
    };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

fn read(mut fields: Fields) -> Result<MintRequest, Problem> {
    let ttl = fields.optional("ttl", |value| {
        value.as_u64().and_then(|seconds| TokenTtl::from_seconds(seconds).ok()).ok_or_else(|| TtlError.to_string())
    });
    let username = fields.optional_text("username");
    let roles = fields.optional("roles", |value| role_list(&value).map_err(|error| error.to_string()));
    fields.finish(Some(MintRequest { ttl, username, roles }))
}

fn audit(caller: &Caller, minted: Result<&str, &MintError>, context: &Context) {
    let reason = minted.err().map(ToString::to_string);
    let decision = if minted.is_ok() { Decision::Allowed } else { Decision::Refused };
    Audit {
        action: "mint",
        issuer: Some(&caller.identity.issuer),
        subject: Some(&caller.identity.subject),
        flex_user_sid: minted.ok(),
        reason: reason.as_deref(),
    }
    .write(&context.request_id, decision);
}
