//! The routes for browsers: login, callback, and the public configuration.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use flexgate::domain::SsoProfile;
use flexgate::store::SessionKey;
use flexgate::telemetry::{Audit, Decision};
use flexgate::twilio::SsoConfiguration;
use flexgate::web::{Context, PageWords, Path, Problem, Query, kinds};
use http::header::{HOST, LOCATION, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use secrecy::ExposeSecret;
use url::Url;
use utoipa::IntoParams;

use super::cookies;
use crate::app::App;
use crate::problem;
use crate::signin::{CallbackError, Completed, Decline, Failed, LoginCookie, LoginId, Prompt, Visitor, browser_family};

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
    /// Where to go after sign-in: a path on Flexgate's origin, or a URL on one of `FLEXGATE_ALLOWED_ORIGINS`. At most
    /// 2,048 bytes. Flexgate replaces any other value with `FLEXGATE_DEFAULT_RETURN_TO`.
    #[param(example = "/")]
    return_to: Option<String>,
    /// What the identity provider should ask the person, even if they are signed in there: `login` or
    /// `select_account`. Twilio may ignore it.
    #[param(pattern = "^(login|select_account)$", example = "select_account")]
    prompt: Option<String>,
}

/// The query parameter that Flexgate adds when it redirects a login to the public URL. Flexgate does not redirect a
/// login that already has this parameter.
const REDIRECTED: &str = "redirected";

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
    uri: Uri,
    headers: HeaderMap,
    context: Context,
) -> Result<Response, Problem> {
    // Start no login for a prefetch, because the person has not decided to sign in.
    if headers.contains_key("sec-purpose") || headers.get("purpose").is_some_and(|value| value == "prefetch") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let profile = profile(&app, &name)?;
    // Behind a CDN, the header `Host` differs from the public URL, although every request comes through the public URL.
    // So the header says nothing about the URL that the browser uses.
    let is_elsewhere = !app.behind_cdn && !is_at(app.sign_in.public_url(), &uri, &headers);
    if query.once(REDIRECTED)?.is_none() && is_elsewhere {
        // The browser would not send this host's login cookie to the callback at the public URL. So redirect the
        // browser to the public URL first.
        let separator = if uri.query().is_some_and(|query| !query.is_empty()) { "&" } else { "" };
        let query = uri.query().unwrap_or_default();
        let location = format!("{}?{query}{separator}{REDIRECTED}=1", app.sign_in.login_url(&profile.name));
        return see_other(&location, []);
    }
    check_allowed(&app, profile, &context).await?;
    // If `return_to` is on an unlisted origin, replace it instead of refusing the login.
    let destinations = app.sign_in.destinations();
    let wanted = query.once("return_to")?.and_then(|text| destinations.parse(text).ok());
    let return_to = wanted.as_ref().unwrap_or_else(|| destinations.default());
    let prompt = query.once("prompt")?.map(str::parse::<Prompt>).transpose();
    let prompt = prompt.map_err(|error| Query::wrong("prompt", error.to_string()))?;
    let configuration = configuration(&app, profile, &context).await?;
    let begun = app.sign_in.begin(profile, &configuration, return_to, prompt, context.deadline).await;
    let begun = begun.map_err(|fault| Problem::from(&fault))?;
    let mut response = see_other(begun.location.as_str(), [cookies::login(begun.id, Some(&begun.cookie))])?;
    let others = cookies::logins_of(&headers);
    let surplus = app.sign_in.surplus(&others, 1, context.deadline).await;
    cookies::forget(surplus, response.headers_mut());
    Ok(response)
}

/// Whether the browser requested the public URL's origin. True if the request has no host.
fn is_at(public_url: &Url, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.or_else(|| uri.authority().map(http::uri::Authority::as_str)) else { return true };
    let here = Url::parse(&format!("{}://{host}", public_url.scheme()));
    here.is_ok_and(|here| here.origin() == public_url.origin())
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
    let logins = cookies::logins_of(&headers);
    let (mut response, spent) = match complete(&app, &name, &query, &headers, &logins, &context).await {
        Ok((response, spent)) => (response, spent),
        Err(Refusal { problem, spent }) => {
            let audit = Audit { action: "sign_in", reason: Some(problem.kind().code), ..Audit::default() };
            audit.write(&context.request_id, Decision::Refused);
            (problem.into_response(), spent)
        }
    };
    let left: Vec<_> = logins.into_iter().filter(|cookie| spent != Some(cookie.id)).collect();
    let surplus = app.sign_in.surplus(&left, 0, context.deadline).await;
    cookies::forget(spent.into_iter().chain(surplus), response.headers_mut());
    response
}

/// A refused callback. `problem` is the answer, and `spent` is the login whose cookie the answer clears.
struct Refusal {
    problem: Problem,
    spent: Option<LoginId>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, spent: None }
    }
}

/// Answers a callback. Also returns the login whose cookie the response must clear.
async fn complete(
    app: &App,
    name: &str,
    query: &Query,
    headers: &HeaderMap,
    logins: &[LoginCookie<'_>],
    context: &Context,
) -> Result<(Response, Option<LoginId>), Refusal> {
    let profile = profile(app, name)?;
    check_allowed(app, profile, context).await?;
    let once = |name| query.once(name).map_err(|problem| offer_login(app, profile, problem));
    let session_id = cookies::session_of(headers);
    let completed = match (once("state")?, once("code")?, once("error")?) {
        (_, Some(_), Some(_)) => {
            let problem = Query::wrong("error", "cannot come together with code");
            return Err(offer_login(app, profile, problem).into());
        }
        (Some(state), Some(code), None) => {
            let visitor = visitor(session_id, headers, context);
            app.sign_in.complete(profile, logins, state, &code.into(), visitor, context.deadline).await
        }
        (Some(state), None, Some(error)) => {
            let declined = app.sign_in.declined(profile, logins, state, Decline::of(error), context.deadline);
            Err(declined.await)
        }
        // The callback belongs to no login, for example because the identity provider started the sign-in.
        _ => Err(Failed { error: CallbackError::NoLogin, spent: None }),
    };
    let Failed { error, spent } = match completed {
        Ok(completed) => return signed_in(&completed, context),
        Err(failed) => failed,
    };
    let login = once("state")?.and_then(|state| app.sign_in.login_of(profile, state));
    if matches!(error, CallbackError::NoLogin) && has_finished(app, session_id, login, context).await {
        // The person is already signed in, and has opened an old callback again. Do not show an error.
        return Ok((see_other(app.sign_in.destinations().default().as_str(), [])?, spent));
    }
    Err(Refusal { problem: offer_login(app, profile, problem::of_callback(&error)), spent })
}

fn signed_in(completed: &Completed, context: &Context) -> Result<(Response, Option<LoginId>), Refusal> {
    let user = completed.flex_user_sid.as_str();
    let audit = Audit { action: "sign_in", flex_user_sid: Some(user), ..Audit::default() };
    audit.write(&context.request_id, Decision::Allowed);
    let session = cookies::session(Some((completed.session_id.expose_secret(), completed.lasts)));
    Ok((see_other(completed.location.as_str(), [session])?, Some(completed.login)))
}

fn visitor(session_id: Option<&str>, headers: &HeaderMap, context: &Context) -> Visitor {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Visitor {
        earlier_session: session_id.map(SessionKey::of),
        address: context.client,
        browser: agent.map(browser_family),
    }
}

/// Refuses a client that is not allowed to sign in now. The error page has a link with which the person can try again.
async fn check_allowed(app: &App, profile: &SsoProfile, context: &Context) -> Result<(), Problem> {
    let allowed = app.sign_in.check_allowed(&profile.name, context.client).await;
    allowed.map_err(|error| offer_login(app, profile, Problem::from(&error)))
}

/// Whether the browser's session began with the login `login`. Also true if the session replaced one that began with
/// this login.
async fn has_finished(app: &App, session_id: Option<&str>, login: Option<LoginId>, context: &Context) -> bool {
    let (Some(session_id), Some(login)) = (session_id, login) else { return false };
    app.sign_in.has_finished(session_id, login, context.deadline).await.unwrap_or(false)
}

/// Adds a sign-in link to the problem's page. After a refusal, the link lets the person choose another account.
fn offer_login(app: &App, profile: &SsoProfile, problem: Problem) -> Problem {
    let url = app.sign_in.login_url(&profile.name);
    if problem.kind() == kinds::LOGIN_REFUSED {
        problem.offering(format!("{url}?prompt=select_account"), "Sign in with another account")
    } else {
        problem.offering(url, "Sign in")
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
    found.ok_or_else(|| {
        const WORDS: &PageWords = &PageWords::fault(
            "You cannot sign in yet",
            "Your administrator has not finished setting up the sign-in for Flex.",
        );
        Problem::new(kinds::PROFILE_UNKNOWN, inactive).worded(WORDS)
    })
}

/// Redirects with status 303. The browser follows with a GET without a body, and its `Referer` does not contain the
/// code.
fn see_other<const N: usize>(location: &str, cookies: [Option<HeaderValue>; N]) -> Result<Response, Problem> {
    let broken = || Problem::new(kinds::INTERNAL, "Give the request's id to your administrator.");
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).map_err(|_| broken())?);
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie.ok_or_else(broken)?);
    }
    Ok(response)
}
