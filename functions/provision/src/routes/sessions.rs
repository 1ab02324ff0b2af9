//! The handlers that list and end sessions.

use std::sync::Arc;

use axum::extract::State;
use flexgate::domain::{Caller, FlexUserSid, ProfileName, Scope, Username};
use flexgate::store::{EndingKey, ListedSession, SessionKey, SessionPosition};
use flexgate::web::openapi::Name;
use flexgate::web::{Context, Path, Problem, Query, kinds};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::users::{UserPath, audit, authorize, check_username, of_named_user, parse_sid};
use crate::app::App;
use crate::problem;

/// The maximum length of a reason, in characters.
const MAX_REASON: usize = 200;

/// Which sessions.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Listing {
    /// Lists only the sessions of the user with exactly this username, all on one page.
    #[param(value_type = Option<Name>, example = "ada")]
    username: Option<String>,
    /// The `next_page_token` of the previous page.
    #[param(pattern = r"^FU[0-9a-fA-F]{32}\.[A-Za-z0-9_-]{43}$")]
    page_token: Option<String>,
}

/// Which session.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct SessionPath {
    /// The session's id, as a list shows it.
    #[param(pattern = "^[A-Za-z0-9_-]{43}$", example = "3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    session_id: String,
}

/// Why sessions end.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Ending {
    /// The reason, for the audit event.
    #[param(max_length = 200, example = "laptop lost")]
    reason: Option<String>,
}

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    /// The token for the next page; null on the last page.
    #[schema(required)]
    next_page_token: Option<String>,
}

/// The session of a browser.
#[derive(Serialize, ToSchema)]
struct Session {
    /// The session's id. It gives no access.
    #[schema(pattern = "^[A-Za-z0-9_-]{43}$")]
    id: String,
    #[schema(value_type = String, pattern = "^FU[0-9a-fA-F]{32}$", example = "FU00000000000000000000000000000001")]
    flex_user_sid: FlexUserSid,
    /// The Flex username. Null if Twilio did not return one at the sign-in.
    #[schema(required, example = "ada")]
    username: Option<String>,
    /// The SSO profile.
    #[schema(example = "default")]
    profile: String,
    /// When the person signed in.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    since: OffsetDateTime,
    /// When a page last asked for the token, to the minute.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    last_used: OffsetDateTime,
    /// When the session ends, even if it is in use.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    ends_at: OffsetDateTime,
    /// The network from which the person signed in.
    #[schema(required, example = "203.0.113.0/24")]
    network: Option<String>,
    /// The family of the browser.
    #[schema(required, example = "Firefox")]
    browser: Option<String>,
}

impl From<ListedSession> for Session {
    fn from(session: ListedSession) -> Self {
        Self {
            id: session.key.as_str().to_owned(),
            flex_user_sid: session.flex_user_sid,
            username: session.origin.username,
            profile: ProfileName::to_string(&session.profile),
            since: session.created_at,
            last_used: session.used_at,
            ends_at: session.ends_at,
            network: session.origin.network,
            browser: session.origin.browser,
        }
    }
}

impl Sessions {
    fn of(sessions: Vec<ListedSession>, next: Option<SessionPosition>) -> axum::Json<Self> {
        let sessions = sessions.into_iter().map(Session::from).collect();
        axum::Json(Self { sessions, next_page_token: next.map(|next| next.to_string()) })
    }
}

/// How many sessions have ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ended {
    #[schema(example = 2)]
    ended: u64,
}

/// Lists who is signed in
///
/// The answer contains no token. It contains IP addresses only if `FLEXGATE_SESSION_ADDRESS` is `full`.
#[utoipa::path(
    get,
    path = "/sessions",
    operation_id = "list_sessions",
    tag = "provision",
    params(Listing),
    responses((status = 200, description = "A page of sessions, which may be empty although more follow", body = Sessions)),
    security(("bearer" = ["flexgate.sessions.read"])),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    query: Query,
    headers: HeaderMap,
    context: Context,
) -> Result<axum::Json<Sessions>, Problem> {
    authorize(&app, &headers, Scope::SessionsRead, "read_sessions", &context).await?;
    let (username, after) = (query.once("username")?, query.once("page_token")?);
    if let Some(username) = username {
        let username: Username = username.parse().map_err(|error| Query::wrong("username", format!("{error}")))?;
        let user = app.provisioning.flex().find(&username, context.deadline).await;
        let Some(user) = user.map_err(|error| problem::of(&error.into()))? else {
            return Ok(Sessions::of(Vec::new(), None));
        };
        return all_of(&app, &user.flex_user_sid).await;
    }
    let unknown = |_| Problem::new(kinds::PAGE_UNKNOWN, "Use next_page_token of an earlier answer as page_token.");
    let after = after.map(str::parse::<SessionPosition>).transpose().map_err(unknown)?;
    let page =
        app.session_list.page(after.as_ref(), app.clock_rng.now()).await.map_err(|error| Problem::from(&error))?;
    Ok(Sessions::of(page.sessions, page.next))
}

/// Lists a user's sessions
#[utoipa::path(
    get,
    path = "/users/{flex_user_sid}/sessions",
    operation_id = "list_sessions_of_user",
    tag = "provision",
    params(UserPath),
    responses((status = 200, description = "All sessions of the user, oldest first", body = Sessions)),
    security(("bearer" = ["flexgate.sessions.read"])),
)]
pub(crate) async fn of_user(
    State(app): State<Arc<App>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    context: Context,
) -> Result<axum::Json<Sessions>, Problem> {
    authorize(&app, &headers, Scope::SessionsRead, "read_sessions", &context).await?;
    all_of(&app, &parse_sid(&sid)?).await
}

async fn all_of(app: &App, user: &FlexUserSid) -> Result<axum::Json<Sessions>, Problem> {
    let sessions = app.session_list.of_user(user, app.clock_rng.now()).await.map_err(|error| Problem::from(&error))?;
    Ok(Sessions::of(sessions, None))
}

/// Ends a session
///
/// The access token that the page already has stays valid until it expires, because Twilio cannot revoke it.
#[utoipa::path(
    delete,
    path = "/sessions/{session_id}",
    operation_id = "end_session",
    tag = "provision",
    params(SessionPath, Ending),
    responses((status = 204, description = "The session has ended")),
    security(("bearer" = ["flexgate.sessions.write"])),
)]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Query,
    headers: HeaderMap,
    context: Context,
) -> Result<StatusCode, Problem> {
    const ACTION: &str = "end_session";
    let caller = authorize(&app, &headers, Scope::SessionsWrite, ACTION, &context).await?;
    let reason = reason(&query)?;
    let unknown = || Problem::new(kinds::SESSION_UNKNOWN, "Look sessions up with GET /sessions.");
    let key: SessionKey = id.parse().map_err(|_| unknown())?;
    let found = app.session_list.find(&key, app.clock_rng.now()).await.map_err(|error| Problem::from(&error))?;
    let session = found.ok_or_else(unknown)?;
    let username = session.origin.username.and_then(|name| name.parse().ok());
    check(ACTION, &app, &caller, &session.flex_user_sid, username, &context).await?;
    app.provisioning.sessions().end(&key).await.map_err(|error| Problem::from(&error))?;
    audit(ACTION, &caller, Some((&session.flex_user_sid, reason)), None, &context);
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of a user
///
/// The access tokens that pages already have stay valid until they expire, because Twilio cannot revoke them.
#[utoipa::path(
    delete,
    path = "/users/{flex_user_sid}/sessions",
    operation_id = "end_sessions_of_user",
    tag = "provision",
    params(UserPath, Ending),
    responses((status = 200, description = "The sessions have ended", body = Ended)),
    security(("bearer" = ["flexgate.sessions.write"])),
)]
pub(crate) async fn end_of_user(
    State(app): State<Arc<App>>,
    Path(sid): Path<String>,
    query: Query,
    headers: HeaderMap,
    context: Context,
) -> Result<axum::Json<Ended>, Problem> {
    const ACTION: &str = "end_sessions";
    let caller = authorize(&app, &headers, Scope::SessionsWrite, ACTION, &context).await?;
    let reason = reason(&query)?;
    let sid = parse_sid(&sid)?;
    check(ACTION, &app, &caller, &sid, None, &context).await?;
    // Record the time at which the sessions end. This record also ends logins that the person has begun but not
    // finished, and that are not in the list of sessions yet. In addition, it prevents the person from minting with a
    // JWT that was issued before now.
    let recorded = app.session_endings.record_ending(&[EndingKey::FlexUser(sid.clone())], app.clock_rng.now()).await;
    recorded.map_err(|error| Problem::from(&error))?;
    let ended = app.provisioning.sessions().end_all_of(&sid).await.map_err(|error| Problem::from(&error))?;
    audit(ACTION, &caller, Some((&sid, reason)), None, &context);
    Ok(axum::Json(Ended { ended }))
}

/// Refuses a caller whose issuer is not allowed to use this user's username. If the issuer may use all usernames, this
/// function does not need to ask Twilio for the username.
async fn check(
    action: &str,
    app: &App,
    caller: &Caller,
    user: &FlexUserSid,
    username: Option<Username>,
    context: &Context,
) -> Result<(), Problem> {
    if caller.limits.usernames.is_empty() {
        return Ok(());
    }
    let username = if let Some(username) = username {
        username
    } else {
        let user = app.provisioning.flex().get(user, context.deadline).await;
        user.map_err(|error| of_named_user(error.into()))?.username
    };
    check_username(action, caller, &username, context)
}

/// Reads the parameter `reason`, which the audit event contains.
fn reason(query: &Query) -> Result<&str, Problem> {
    match query.once("reason")? {
        Some(text) if text.chars().count() > MAX_REASON || text.chars().any(char::is_control) => {
            Err(Query::wrong("reason", "must have 200 characters at most, and no control characters"))
        }
        text => Ok(text.unwrap_or("ended")),
    }
}
