//! Token exchange (RFC 8693): `POST /token` with a form.
//!
//! The subject token authenticates the caller. The `Authorization` header is optional. If present, it must contain the
//! same token. An actor token authenticates a service that acts for the caller. The service needs the scope
//! `flexgate.token.any`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use flexgate::authn::CallerError;
use flexgate::base::error_chain::with_causes;
use flexgate::domain::policy::{MintRefusal, MintRequest};
use flexgate::domain::{Caller, Role, RoleSet, Scope, TokenTtl, TtlError};
use flexgate::telemetry::Decision;
use flexgate::twilio::TokenInfo;
use flexgate::web::openapi::Name;
use flexgate::web::{Context, Kind, Problem, form, kinds};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::caller::{Act, audit, authenticate, mint_for};
use crate::app::App;
use crate::minting::MintError;
use crate::problem;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The accepted types of a subject token and of an actor token.
const TOKEN_TYPES: [&str; 3] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:access_token",
    "urn:ietf:params:oauth:token-type:id_token",
];
/// The type of a Flex token. It is not an OAuth access token, because no API accepts it as a bearer token.
const FLEX_TOKEN: &str = "urn:flexgate:params:oauth:token-type:flex";
/// The accepted values of `requested_token_type`. Ordinary OAuth clients request an access token, so that type is
/// accepted too.
const REQUESTED_TYPES: [&str; 2] = [FLEX_TOKEN, "urn:ietf:params:oauth:token-type:access_token"];

/// A token exchange (RFC 8693 §2.1). Parameters that are not listed here are ignored.
#[derive(ToSchema, Deserialize)]
#[expect(dead_code, reason = "describes what the handler reads parameter by parameter")]
pub(super) struct Exchange {
    #[schema(
        pattern = "^urn:ietf:params:oauth:grant-type:token-exchange$",
        example = "urn:ietf:params:oauth:grant-type:token-exchange"
    )]
    grant_type: String,
    /// The caller's JWT. If there is an `Authorization` header, it must carry the same token.
    #[schema(min_length = 1)]
    subject_token: String,
    /// `urn:ietf:params:oauth:token-type:` and `jwt`, `access_token` or `id_token`.
    #[schema(
        pattern = "^urn:ietf:params:oauth:token-type:(jwt|access_token|id_token)$",
        example = "urn:ietf:params:oauth:token-type:jwt"
    )]
    subject_token_type: String,
    /// The JWT of the service that acts for the caller. It needs the scope `flexgate.token.any`. The audit event names
    /// the service in `act`.
    actor_token: Option<String>,
    /// Required with `actor_token`.
    actor_token_type: Option<String>,
    /// `urn:flexgate:params:oauth:token-type:flex`. The type of an access token is accepted too.
    requested_token_type: Option<String>,
    /// The only roles that the token may have, separated by spaces. Flexgate's own scopes are accepted and ignored.
    #[schema(example = "agent")]
    scope: Option<String>,
    /// The token's lifetime in seconds, as in the JSON body.
    #[schema(minimum = 60, maximum = 86_400)]
    ttl: Option<u32>,
    /// The user to mint for, as in the JSON body.
    #[schema(value_type = Option<Name>)]
    username: Option<String>,
}

/// The answer to a token exchange (RFC 8693 §2.2.1).
#[derive(Serialize, ToSchema)]
pub(super) struct Exchanged<'a> {
    /// The Flex token, for `createClient`.
    #[schema(example = "eyJ6aXAiOiJERUYi…")]
    access_token: &'a str,
    #[schema(example = "urn:flexgate:params:oauth:token-type:flex")]
    issued_token_type: &'static str,
    /// Always `N_A`: a Flex token is not a bearer token.
    #[schema(example = "N_A")]
    token_type: &'static str,
    /// The token's remaining lifetime in seconds.
    #[schema(example = 3600)]
    expires_in: u64,
    /// The token's roles, separated by spaces.
    #[schema(example = "agent")]
    scope: String,
    /// When it expires.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:00:00Z")]
    expires_at: OffsetDateTime,
    /// Twilio's information about the token.
    token_info: &'a TokenInfo,
}

/// What the form asks for.
struct Asked {
    subject_token: SecretString,
    actor_token: Option<SecretString>,
    mint: MintRequest,
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Answers a token exchange. Each problem response also has the member `error` of RFC 6749 §5.2.
pub(super) async fn exchange(app: &App, context: &Context, request: Request) -> Result<Response, Problem> {
    let done = exchanged(app, context, request).await;
    done.map_err(|problem| {
        let error = error_of(problem.kind());
        problem.or_oauth_error(error)
    })
}

async fn exchanged(app: &App, context: &Context, request: Request) -> Result<Response, Problem> {
    let refused = |caller: Option<&Caller>, problem: Problem, reason: &dyn std::fmt::Display| {
        audit(caller, None, &Act::of(caller), Decision::Refused, reason, context);
        problem
    };
    let headers = request.headers().clone();
    // If there is an `Authorization` header, verify the caller before reading the body.
    let has_header = headers.contains_key(AUTHORIZATION);
    let by_header = if has_header { Some(authenticate(app, &headers, context).await?) } else { None };
    let asked = form(request).await.and_then(read);
    let asked = asked.map_err(|problem| refused(by_header.as_ref(), problem.clone(), &problem))?;
    let caller = match by_header {
        Some(caller) if bearer(&headers) == Some(asked.subject_token.expose_secret()) => caller,
        Some(caller) => {
            let problem = invalid("subject_token must be the token in the Authorization header.");
            return Err(refused(Some(&caller), problem, &"subject_token is not the bearer token"));
        }
        None => verified(app, &asked.subject_token, "subject_token", context)
            .await
            .map_err(|(problem, reason)| refused(None, problem, &reason))?,
    };
    let actor = match &asked.actor_token {
        Some(token) => Some(actor(app, &caller, token, context).await?),
        None => None,
    };
    let act = actor.as_ref().filter(|actor| actor.identity != caller.identity);
    let act = act.map_or(Act::of(Some(&caller)), |actor| Act(Some(actor.identity.subject.clone())));
    let minted = mint_for(app, &caller, act, asked.mint, context).await?;
    let info = &minted.token.info;
    let left = (info.expiration - app.clock_rng.now()).whole_seconds();
    let answer = Exchanged {
        access_token: minted.token.access_token.expose_secret(),
        issued_token_type: FLEX_TOKEN,
        token_type: "N_A",
        expires_in: left.try_into().unwrap_or(0),
        scope: info.roles.names().join(" "),
        expires_at: info.expiration,
        token_info: info,
    };
    Ok((StatusCode::OK, Json(answer)).into_response())
}

/// Verifies the token of a service that acts for `caller`.
async fn actor(app: &App, caller: &Caller, token: &SecretString, context: &Context) -> Result<Caller, Problem> {
    let refused = |act: &Act, problem, reason: &dyn std::fmt::Display| {
        audit(Some(caller), None, act, Decision::Refused, reason, context);
        problem
    };
    let actor = verified(app, token, "actor_token", context).await;
    let actor = actor.map_err(|(problem, reason)| refused(&Act(None), problem, &reason))?;
    let refusal = if !actor.scopes.grant(Scope::TokenAny) {
        MintRefusal::ScopeMissing(Scope::TokenAny)
    } else if caller.username.as_ref().is_some_and(|username| !actor.limits.allow(username)) {
        MintRefusal::UsernameOutside
    } else {
        return Ok(actor);
    };
    let error = MintError::Refused(refusal);
    let act = Act(Some(actor.identity.subject.clone()));
    Err(refused(&act, problem::of(&error), &format!("the actor: {}", with_causes(&error))))
}

/// Verifies a token from the form. If the token is invalid, returns the problem and the reason for the audit event. The
/// problem has the code `invalid_request` (RFC 8693 §2.2.2).
async fn verified(
    app: &App,
    token: &SecretString,
    parameter: &str,
    context: &Context,
) -> Result<Caller, (Problem, String)> {
    app.verifier.verify_token(token.expose_secret(), context.deadline).await.map_err(|error| {
        let problem = match &error {
            CallerError::Invalid(_) | CallerError::TooLarge | CallerError::Missing => {
                invalid(format!("Flexgate does not accept the {parameter}.")).because(&error)
            }
            CallerError::NotConfigured | CallerError::Unavailable { .. } => Problem::from(&error),
        };
        (problem, format!("{parameter}: {}", with_causes(&error)))
    })
}

/// Returns the bearer token from an `Authorization` header that has already been verified.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (_, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim_start_matches(' '))
}

fn read(pairs: Vec<(String, String)>) -> Result<Asked, Problem> {
    let mut parameters = BTreeMap::new();
    for (name, value) in pairs {
        // Ignore a parameter without a value. Refuse a parameter that occurs twice (RFC 6749 §3.2).
        if !value.is_empty() && parameters.insert(name, value).is_some() {
            return Err(invalid("Send each parameter once."));
        }
    }
    let mut take = |name: &str| parameters.remove(name);
    match take("grant_type").as_deref() {
        Some(GRANT_TYPE) => {}
        Some(_) => {
            let detail = format!("The grant_type must be {GRANT_TYPE}.");
            return Err(Problem::new(kinds::EXCHANGE_INVALID, detail).or_oauth_error("unsupported_grant_type"));
        }
        None => return Err(invalid(format!("Send grant_type={GRANT_TYPE}."))),
    }
    if take("resource").is_some() || take("audience").is_some() {
        let detail = "A Flex token is always for the account that Flexgate serves. Send neither resource nor audience.";
        return Err(Problem::new(kinds::EXCHANGE_INVALID, detail).or_oauth_error("invalid_target"));
    }
    let mut token = |name: &str| {
        let (token, kind) = (take(name), take(&format!("{name}_type")));
        match (token, kind.as_deref()) {
            (None, None) => Ok(None),
            (Some(token), Some(kind)) if TOKEN_TYPES.contains(&kind) => Ok(Some(SecretString::from(token))),
            (Some(_), Some(_)) => Err(invalid(format!("The {name}_type must be one of {}.", TOKEN_TYPES.join(", ")))),
            _ => Err(invalid(format!("Send {name} and {name}_type together."))),
        }
    };
    let subject_token = token("subject_token")?.ok_or_else(|| invalid("Send subject_token and subject_token_type."))?;
    let actor_token = token("actor_token")?;
    if take("requested_token_type").is_some_and(|kind| !REQUESTED_TYPES.contains(&&*kind)) {
        return Err(invalid(format!("The requested_token_type can only be {FLEX_TOKEN}.")));
    }
    let ttl = take("ttl").map(|text| {
        let ttl = text.parse().ok().and_then(|seconds| TokenTtl::from_seconds(seconds).ok());
        ttl.ok_or_else(|| invalid(format!("The ttl {TtlError}.")))
    });
    let username = take("username").map(|text| text.parse().map_err(|error| invalid(format!("The username {error}."))));
    let roles = take("scope").map(|text| roles(&text)).transpose()?.filter(|roles| !roles.is_empty());
    let mint = MintRequest { ttl: ttl.transpose()?, username: username.transpose()?, roles };
    Ok(Asked { subject_token, actor_token, mint })
}

fn roles(scope: &str) -> Result<RoleSet, Problem> {
    let names = scope.split(' ').filter(|name| !name.is_empty() && name.parse::<Scope>().is_err());
    names.map(str::parse::<Role>).collect::<Result<_, _>>().map_err(|_| {
        let detail = "The scope can name the roles agent, supervisor and admin, separated by spaces.";
        Problem::new(kinds::EXCHANGE_INVALID, detail).or_oauth_error("invalid_scope")
    })
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(kinds::EXCHANGE_INVALID, detail).or_oauth_error("invalid_request")
}

/// Returns the error code of RFC 6749 §5.2 for a kind of problem.
fn error_of(kind: &Kind) -> &'static str {
    match kind {
        kind if kind == kinds::TOKEN_INVALID => "invalid_client",
        kind if kind == kinds::SCOPE_MISSING => "unauthorized_client",
        kind if kind == kinds::ROLE_FORBIDDEN => "invalid_scope",
        kind if [kinds::MINT_REFUSED, kinds::USER_AMBIGUOUS, kinds::SIGNED_OUT].contains(&kind) => "invalid_grant",
        kind if kind == kinds::SIGN_IN_LOCKED
            || kind.status == StatusCode::TOO_MANY_REQUESTS
            || kind.status == StatusCode::SERVICE_UNAVAILABLE =>
        {
            "temporarily_unavailable"
        }
        kind if kind.status.is_client_error() => "invalid_request",
        _ => "server_error",
    }
}
