//! `POST /token` with a JSON body.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use flexgate::domain::policy::MintRequest;
use flexgate::domain::{TokenTtl, TtlError, role_list};
use flexgate::telemetry::Decision;
use flexgate::twilio::TokenInfo;
use flexgate::web::openapi::Name;
use flexgate::web::{Context, Fields, Problem};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::caller::{Act, audit, authenticate, mint_for};
use super::exchange::{self, Exchange, Exchanged};
use crate::app::App;

/// What to mint. Without a body, Flexgate mints a token for the caller that is valid for at most an hour.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Asked {
    /// The token's lifetime in seconds. The settings and the lifetime of the caller's own token limit it.
    #[schema(minimum = 60, maximum = 86_400, example = 3600)]
    ttl: Option<u32>,
    /// The user to mint for. To name somebody other than the caller, the scope `flexgate.token.any` is required.
    #[schema(value_type = Option<Name>)]
    username: Option<String>,
    /// The only roles that the token may have. Twilio always mints with all of the user's roles, so Flexgate refuses if
    /// the user has any other role.
    #[schema(min_items = 1, example = json!(["agent"]))]
    roles: Option<Vec<Role>>,
}

/// A role that Flexgate can give.
#[derive(ToSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Agent,
    Supervisor,
    Admin,
}

/// A freshly minted token. There is no refresh token: mint again before it expires.
#[derive(Serialize, ToSchema)]
struct Minted<'a> {
    /// The Flex token, for `createClient`.
    #[schema(example = "eyJ6aXAiOiJERUYi…")]
    access_token: &'a str,
    /// When it expires.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:00:00Z")]
    expires_at: OffsetDateTime,
    /// Twilio's information about the token.
    token_info: &'a TokenInfo,
}

/// Mints a Flex token
///
/// Mints for the caller, or for another user with the scope `flexgate.token.any`. The caller's username and roles come
/// from their verified token; the body can only narrow the roles and the lifetime.
///
/// A form is a token exchange (RFC 8693). Its `subject_token` identifies the caller, so the request needs no
/// `Authorization` header. Errors of a token exchange also have the member `error` of RFC 6749.
#[utoipa::path(
    post,
    path = "/token",
    operation_id = "mint",
    tag = "mint",
    request_body(content(
        (Asked = "application/json", example = json!({ "ttl": 3600 })),
        (Exchange = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 201, description = "The token", body = Minted<'_>),
        (status = 200, description = "The token, for a token exchange", body = Exchanged<'_>),
    ),
    security(("bearer" = ["flexgate.token"]), ("bearer" = ["flexgate.token.any"])),
)]
pub(crate) async fn mint(State(app): State<Arc<App>>, context: Context, request: Request) -> Result<Response, Problem> {
    if exchange::is_form(request.headers()) {
        return exchange::exchange(&app, &context, request).await;
    }
    // Verify the caller before reading the body, so that strangers learn nothing about its fields.
    let caller = authenticate(&app, request.headers(), &context).await?;
    let act = Act::of(Some(&caller));
    let asked = Fields::read(request).await.and_then(read).inspect_err(|problem| {
        audit(Some(&caller), None, &act, Decision::Refused, &problem, &context);
    })?;
    let minted = mint_for(&app, &caller, act, asked, &context).await?;
    let info = &minted.token.info;
    let answer = Minted {
        access_token: minted.token.access_token.expose_secret(),
        expires_at: info.expiration,
        token_info: info,
    };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// Reads a whole number. JSON may contain `3600.0` instead of `3600`.
fn whole(value: &serde_json::Value) -> Option<u64> {
    let integral = || value.as_f64().filter(|number| number.fract() == 0.0)?.to_string().parse().ok();
    value.as_u64().or_else(integral)
}

fn read(mut fields: Fields) -> Result<MintRequest, Problem> {
    let ttl = fields.optional("ttl", |value| {
        whole(&value).and_then(|seconds| TokenTtl::from_seconds(seconds).ok()).ok_or_else(|| TtlError.to_string())
    });
    let username = fields.optional_text("username");
    let roles = fields.optional("roles", |value| role_list(&value).map_err(|error| error.to_string()));
    fields.finish(Some(MintRequest { ttl, username, roles }))
}
