//! `POST /token`.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use flexgate::base::error_chain::with_causes;
use flexgate::domain::policy::MintRequest;
use flexgate::domain::{Caller, FlexUserSid, TokenTtl, TtlError, role_list};
use flexgate::telemetry::{self, Audit, Decision};
use flexgate::twilio::TokenInfo;
use flexgate::web::openapi::Name;
use flexgate::web::{Context, Fields, Problem};
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::exchange::{self, Exchange, Exchanged};
use crate::app::App;
use crate::minting::{self, MintError};
use crate::problem;

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
/// A form is a token exchange (RFC 8693). Its `subject_token` proves who the caller is, so that it needs no
/// `Authorization` header. Problems then have the member `error` of RFC 6749 too.
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
    // Verify the caller before reading the body. Otherwise, a caller without a token could learn from error messages
    // which fields the body has.
    let caller = authenticate(&app, request.headers(), &context).await?;
    let act = Act::of(Some(&caller));
    let asked = Fields::read(request).await.and_then(read).inspect_err(|problem| {
        audit(Some(&caller), None, act.clone(), Decision::Refused, &problem, &context);
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

/// Verifies the bearer token of the request.
pub(super) async fn authenticate(app: &App, headers: &HeaderMap, context: &Context) -> Result<Caller, Problem> {
    app.verifier.verify(headers, context.deadline).await.map_err(|error| {
        audit(None, None, Act(None), Decision::Refused, &with_causes(&error), context);
        Problem::from(&error)
    })
}

/// Mints for the caller, and writes the audit event.
pub(super) async fn mint_for(
    app: &App,
    caller: &Caller,
    act: Act,
    asked: MintRequest,
    context: &Context,
) -> Result<minting::Minted, Problem> {
    let unused = &caller.unused;
    let minted = app.minting.mint(caller, asked, context.deadline).await.map_err(|error| {
        // A claim that could not be used may be the reason.
        let reason = with_note(&with_causes(&error), Some(unused.to_string()));
        audit(Some(caller), error.user(), act.clone(), Decision::Refused, &reason, context);
        if let MintError::WrongToken(wrong) = &error {
            telemetry::alarm(&context.request_id, "wrong_token", wrong);
        }
        problem::of(&error).noting(unused)
    })?;
    let act = act.or_for(caller, minted.is_for_self());
    let reason = with_note(&minted, unused.dropped_roles());
    audit(Some(caller), Some(&minted.token.info.flex_user_sid), act, Decision::Allowed, &reason, context);
    Ok(minted)
}

fn with_note(reason: &dyn Display, note: Option<String>) -> String {
    match note.filter(|note| !note.is_empty()) {
        Some(note) => format!("{reason}; {note}"),
        None => reason.to_string(),
    }
}

/// The subject of whoever really acts, if that is not the subject of the mint (RFC 8693 §4.1).
#[derive(Debug, Clone)]
pub(super) struct Act(pub(super) Option<Box<str>>);

impl Act {
    /// Whom the caller's own token names.
    pub(super) fn of(caller: Option<&Caller>) -> Self {
        Self(caller.and_then(|caller| caller.acts.clone()))
    }

    /// A caller who mints for a user whom they name acts for that user.
    fn or_for(self, caller: &Caller, for_self: bool) -> Self {
        Self(self.0.or_else(|| (!for_self).then(|| caller.identity.subject.clone())))
    }
}

/// Reads a whole number. JSON may also write a whole number as `3600.0`.
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

pub(super) fn audit(
    caller: Option<&Caller>,
    user: Option<&FlexUserSid>,
    act: Act,
    decision: Decision,
    reason: &dyn Display,
    context: &Context,
) {
    Audit {
        action: "mint",
        issuer: caller.map(|caller| &*caller.identity.issuer),
        subject: caller.map(|caller| &*caller.identity.subject),
        flex_user_sid: user.map(FlexUserSid::as_str),
        reason: Some(&reason.to_string()),
    }
    .write_with_actor(act.0.as_deref(), &context.request_id, decision);
}
