//! The routes that a browser navigates to (login and callback), and the public configuration.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use flexgate::domain::SsoProfile;
use flexgate::telemetry::{Audit, Decision};
use flexgate::twilio::SsoConfiguration;
use flexgate::web::{Context, Problem, Query, kinds};
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use utoipa::IntoParams;

use super::cookies;
use crate::app::App;
use crate::problem;
use crate::signin::{CallbackError, LOGIN_COOKIE, ReturnTo};

/// Which SSO profile.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Profile {
    /// A profile that `FLEXGATE_SSO_PROFILES` names.
    #[param(min_length = 1, example = "default")]
    profile: String,
}

/// How to begin.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Login {
    /// Where to go after sign-in: a path on Flexgate's origin. Flexgate replaces any other address with `/`.
    #[param(example = "/")]
    return_to: Option<String>,
}

/// Shows the active authentication configuration
#[utoipa::path(
    get,
    path = "/sso/{profile}/config",
    operation_id = "sso_config",
    tag = "sign-in",
    params(Profile),
    responses((
        status = 200,
        description = "Twilio's configuration, at most five minutes old (an hour if Twilio fails)",
        body = SsoConfiguration,
    )),
)]
pub(crate) async fn config(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    context: Context,
) -> Result<axum::Json<SsoConfiguration>, Problem> {
    let profile = profile(&app, &name)?;
    Ok(axum::Json(configuration(&app, profile, &context).await?))
}

/// Starts a login and sends the browser to Twilio
///
/// Navigate to this address; do not `fetch` it. It sets the sealed login cookie.
#[utoipa::path(
    get,
    path = "/sso/{profile}/login",
    operation_id = "login",
    tag = "sign-in",
    params(Profile, Login),
    responses(
        (status = 303, description = "To Twilio, with the login cookie", headers(("location" = String))),
        (status = 204, description = "The request is a prefetch, which starts no login"),
    ),
)]
pub(crate) async fn login(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
    context: Context,
) -> Result<Response, Problem> {
    // Start no login for a prefetch. The browser sends it in advance, before the person has decided to sign in.
    if headers.contains_key("sec-purpose") || headers.get("purpose").is_some_and(|value| value == "prefetch") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let profile = profile(&app, &name)?;
    // Replace a `return_to` on another origin instead of refusing it, because the person still wants to sign in.
    let wanted = query.once("return_to")?.map(|text| ReturnTo::parse(text, app.sign_in.public_url()));
    let return_to = wanted.and_then(Result::ok).unwrap_or_default();
    let configuration = configuration(&app, profile, &context).await?;
    let cookie = cookies::get(&headers, LOGIN_COOKIE);
    let begun = app.sign_in.begin(profile, &configuration, &return_to, cookie, context.deadline).await;
    let begun = begun.map_err(|fault| Problem::from(&fault))?;
    see_other(begun.location.as_str(), [cookies::login(Some(&begun.cookie))])
}

/// Completes a login, or reports why it failed
///
/// Twilio sends the browser here with `code` and `state`, or with `error` and `state`.
#[utoipa::path(
    get,
    path = "/sso/{profile}/callback",
    operation_id = "callback",
    tag = "sign-in",
    params(Profile),
    responses(
        (status = 303, description = "To `return_to`, with the session cookie", headers(("location" = String))),
    ),
    security(("login" = [])),
)]
pub(crate) async fn callback(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    query: Query,
    headers: HeaderMap,
    context: Context,
) -> Response {
    match complete(&app, &name, &query, &headers, &context).await {
        Ok(response) => response,
        Err(Refusal { problem, ends_login }) => {
            let audit = Audit { action: "sign_in", reason: Some(problem.kind().code), ..Audit::default() };
            audit.write(&context.request_id, Decision::Refused);
            let mut response = problem.into_response();
            if let Some(cleared) = cookies::login(None).filter(|_| ends_login) {
                response.headers_mut().append(SET_COOKIE, cleared);
            }
            response
        }
    }
}

/// Describes a callback that signs nobody in: the problem, and whether the response also clears the login cookie with
/// all pending logins.
struct Refusal {
    problem: Problem,
    ends_login: bool,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, ends_login: false }
    }
}

async fn complete(
    app: &App,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
    context: &Context,
) -> Result<Response, Refusal> {
    let profile = profile(app, name)?;
    let (code, error) = (query.once("code")?, query.once("error")?);
    let state = query.once("state")?.ok_or_else(|| Query::wrong("state", "is required"))?;
    let cookie = cookies::get(headers, LOGIN_COOKIE);
    let code = match (code, error) {
        (Some(code), None) => SecretString::from(code),
        (None, Some(_)) => return Err(refused(app, profile, cookie, state, context).await),
        (Some(_), Some(_)) => return Err(Query::wrong("error", "cannot come together with code").into()),
        (None, None) => return Err(Query::wrong("code", "is required").into()),
    };
    let completed = app.sign_in.complete(profile, cookie, state, &code, context.deadline).await;
    let completed = completed.map_err(|error| Refusal {
        ends_login: matches!(error, CallbackError::NoLogin),
        problem: problem::of_callback(&error),
    })?;
    let user = completed.flex_user_sid.as_str();
    let audit = Audit { action: "sign_in", flex_user_sid: Some(user), ..Audit::default() };
    audit.write(&context.request_id, Decision::Allowed);
    let lifetime = app.sign_in.lifetimes().absolute;
    let cookies = [
        cookies::login(completed.cookie.as_deref()),
        cookies::session(Some(completed.session_id.expose_secret()), lifetime),
    ];
    Ok(see_other(&completed.location, cookies)?)
}

/// Answers a callback with the message that the identity provider refused the sign-in. Only the browser that began the
/// login gets this answer. Flexgate does not repeat the text of the error, because anybody can put any text into the
/// URL.
async fn refused(app: &App, profile: &SsoProfile, cookie: Option<&str>, state: &str, context: &Context) -> Refusal {
    match app.sign_in.began(profile, cookie, state, context.deadline).await {
        Ok(true) => Problem::new(kinds::LOGIN_REFUSED, "Try again, or ask for access.").into(),
        Ok(false) => Refusal { problem: problem::of_callback(&CallbackError::NoLogin), ends_login: true },
        Err(fault) => Problem::from(&fault).into(),
    }
}

fn profile<'a>(app: &'a App, unverified_name: &str) -> Result<&'a SsoProfile, Problem> {
    let unknown = || Problem::new(kinds::PROFILE_UNKNOWN, "Use a profile that FLEXGATE_SSO_PROFILES names.");
    app.sign_in.profile(unverified_name).ok_or_else(unknown)
}

async fn configuration(app: &App, profile: &SsoProfile, context: &Context) -> Result<SsoConfiguration, Problem> {
    let found = app.sign_in.configuration(profile, context.deadline).await.map_err(|fault| Problem::from(&fault))?;
    let inactive =
        "Twilio has no active SSO configuration for this profile. Activate it in the Console, under Flex, SSO.";
    found.ok_or_else(|| Problem::new(kinds::PROFILE_UNKNOWN, inactive))
}

/// Answers with status 303. The browser's next request then has no body, and no `Referer` that contains the code.
fn see_other<const N: usize>(location: &str, cookies: [Option<HeaderValue>; N]) -> Result<Response, Problem> {
    let broken = || Problem::new(kinds::INTERNAL, "Give the request's id to your administrator.");
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).map_err(|_| broken())?);
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie.ok_or_else(broken)?);
    }
    Ok(response)
}
