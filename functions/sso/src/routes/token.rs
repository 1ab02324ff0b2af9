//! The routes for a page's scripts: token, validate and logout.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use flexgate::domain::{AccountSid, FlexUserSid, InstanceSid, ObservedRoles, SsoProfileSid, WorkerSid};
use flexgate::telemetry::{Audit, Decision};
use flexgate::twilio::{TokenInfo, TwilioError};
use flexgate::web::{Context, Fields, Problem};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::cookies;
use crate::app::App;
use crate::problem;
use crate::signin::SessionError;

/// The maximum length of a token, in bytes. A Flex token is about 1.8 KB long.
const MAX_TOKEN: usize = 8_192;

/// The header that only a page on an allowed origin can send.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct SameSite {
    /// Always `1`: an HTML form cannot send this header.
    #[param(rename = "x-flexgate", pattern = "^1$", example = "1")]
    x_flexgate: String,
    /// The page's origin, which browsers send automatically: Flexgate's own, or one of `FLEXGATE_ALLOWED_ORIGINS`.
    #[param(rename = "origin", example = "http://localhost:9000")]
    origin: String,
}

/// A token to check.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Unverified {
    /// A Flex access token.
    #[schema(min_length = 1, max_length = 8192, pattern = "^[!-~]+$", example = "eyJ6aXAiOiJERUYi")]
    token: String,
}

/// The signed-in person's access token.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names are the contract's")]
struct Token<'a> {
    /// The Flex token, for `createClient`.
    #[schema(example = "eyJ6aXAiOiJERUYi…")]
    access_token: &'a str,
    /// When it expires. Call this route again before then: it renews a token with less than five minutes left.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:00:00Z")]
    expires_at: OffsetDateTime,
    /// When the person signed in.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T07:00:00Z")]
    signed_in_at: OffsetDateTime,
    /// When the session ends at the latest. It ends earlier if it is not used.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T19:00:00Z")]
    session_ends_at: OffsetDateTime,
    /// The identity in Twilio's other products (`ada_40example_2Ecom`).
    #[schema(required)]
    identity: Option<String>,
    #[schema(required, example = "ada")]
    username: Option<String>,
    #[schema(value_type = Vec<String>, example = json!(["agent"]))]
    roles: ObservedRoles,
    #[schema(value_type = String, pattern = "^FU[0-9a-fA-F]{32}$", example = "FU00000000000000000000000000000001")]
    flex_user_sid: FlexUserSid,
    #[schema(value_type = Option<String>, required, example = "WK00000000000000000000000000000001")]
    worker_sid: Option<WorkerSid>,
    #[schema(value_type = String, pattern = "^AC[0-9a-fA-F]{32}$", example = "AC00000000000000000000000000000001")]
    account_sid: AccountSid,
    #[schema(value_type = String, pattern = "^GO[0-9a-fA-F]{32}$", example = "GO00000000000000000000000000000001")]
    instance_sid: InstanceSid,
    #[schema(value_type = String, pattern = "^JQ[0-9a-fA-F]{32}$", example = "JQ00000000000000000000000000000001")]
    sso_profile_sid: SsoProfileSid,
}

/// Returns the access token of the signed-in person
///
/// Flexgate refreshes the token when less than five minutes are left. The refresh token never leaves Flexgate.
#[utoipa::path(
    post,
    path = "/sso/token",
    operation_id = "sso_token",
    tag = "sign-in",
    params(SameSite),
    responses((status = 200, description = "The token", body = Token<'_>)),
    security(("session" = [])),
)]
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    context: Context,
) -> Result<Response, Problem> {
    app.origins.require(&headers)?;
    // Do not clear the session cookie in a refusal. The refusal could arrive after another tab has signed in, and would
    // then clear the cookie of the new session.
    let session_id = cookies::session_of(&headers).ok_or_else(|| problem::of_session(&SessionError::Unknown))?;
    let signed_in = app.sign_in.token(session_id, context.client, context.deadline).await;
    let signed_in = signed_in.map_err(|error| problem::of_session(&error))?;
    let mut response = axum::Json(Token {
        access_token: signed_in.access_token.expose_secret(),
        expires_at: signed_in.expires_at,
        signed_in_at: signed_in.began_at,
        session_ends_at: signed_in.ends_at,
        identity: signed_in.identity,
        username: signed_in.username,
        roles: signed_in.roles,
        flex_user_sid: signed_in.flex_user_sid,
        worker_sid: signed_in.worker_sid,
        account_sid: app.sso.account().clone(),
        instance_sid: app.sso.instance().clone(),
        sso_profile_sid: signed_in.profile.sid,
    })
    .into_response();
    let logins = cookies::logins_of(&headers);
    let surplus = app.sign_in.surplus(&logins, 0, context.deadline).await;
    cookies::forget(surplus, response.headers_mut());
    Ok(response)
}

/// Ends the session
///
/// The call also succeeds if there is no session. The access token stays valid until it expires, because Twilio cannot
/// revoke access tokens.
#[utoipa::path(
    post,
    path = "/sso/logout",
    operation_id = "logout",
    tag = "sign-in",
    params(SameSite),
    responses((status = 204, description = "The session has ended")),
    security((), ("session" = [])),
)]
pub(crate) async fn logout(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    context: Context,
) -> Result<Response, Problem> {
    app.origins.require(&headers)?;
    if let Some(session_id) = cookies::session_of(&headers) {
        app.sign_in.end(session_id).await.map_err(|fault| Problem::from(&fault))?;
        Audit { action: "sign_out", ..Audit::default() }.write(&context.request_id, Decision::Allowed);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(cleared) = cookies::session(None) {
        response.headers_mut().append(SET_COOKIE, cleared);
    }
    Ok(response)
}

/// Validates a token from hosted Flex and shows whose it is
///
/// Flexgate validates the token with Twilio. It is valid only if it is for this account and instance.
#[utoipa::path(
    post,
    path = "/sso/validate",
    operation_id = "validate",
    tag = "sign-in",
    request_body = Unverified,
    responses((status = 200, description = "The token is valid", body = TokenInfo)),
)]
pub(crate) async fn validate(
    State(app): State<Arc<App>>,
    context: Context,
    request: Request,
) -> Result<axum::Json<TokenInfo>, Problem> {
    let mut fields = Fields::read(request).await?;
    let unverified_token = fields.required("token", |value| match value.as_str() {
        Some(text) if !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(SecretString::from(text))
        }
        _ => Err("must be a Flex access token".to_owned()),
    });
    let unverified_token = fields.finish(unverified_token)?;
    let info = match app.sso.token_info(&unverified_token, context.deadline).await {
        Ok(info) if info.expiration > app.sign_in.now() => {
            match app.sign_in.is_inactive(&info.flex_user_sid, info.username.as_deref()).await {
                Ok(false) => Ok(info),
                Ok(true) => Err(problem::flex_token_invalid()),
                Err(fault) => Err(Problem::from(&fault)),
            }
        }
        Ok(_) => Err(problem::flex_token_invalid()),
        Err(TwilioError::Refused(_) | TwilioError::NotFound(_) | TwilioError::Foreign) => {
            Err(problem::flex_token_invalid())
        }
        Err(error) => Err(Problem::from(&error)),
    };
    let user = info.as_ref().ok().map(|info| info.flex_user_sid.as_str());
    let decision = if user.is_some() { Decision::Allowed } else { Decision::Refused };
    Audit { action: "validate", flex_user_sid: user, ..Audit::default() }.write(&context.request_id, decision);
    info.map(axum::Json)
}
