//! The handler that finds and lists users.

use std::sync::Arc;

use axum::extract::State;
use flexgate::domain::{Scope, Username};
use flexgate::twilio::TwilioError;
use flexgate::web::openapi::Name;
use flexgate::web::{Context, Problem, Query, kinds};
use http::HeaderMap;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::users::{User, authorize};
use crate::app::App;
use crate::problem;

const DEFAULT_PAGE: u16 = 50;
const MAX_PAGE: u16 = 1_000;

/// How to find users.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Listing {
    /// Finds only the user with exactly this username. If it is present, Flexgate ignores the other parameters.
    #[param(value_type = Option<Name>, example = "ada")]
    username: Option<String>,
    /// The number of users per page, 50 by default.
    #[param(minimum = 1, maximum = 1000, example = 50)]
    page_size: Option<u16>,
    /// The `next_page_token` of the previous page.
    #[param(max_length = 1024)]
    page_token: Option<String>,
}

/// A page of users.
#[derive(Serialize, ToSchema)]
#[schema(as = Users)]
pub(crate) struct Found {
    users: Vec<User>,
    /// The username that Flexgate looked for. Absent if the query has no username.
    #[schema(value_type = Option<String>, example = "ada")]
    #[serde(rename = "username", skip_serializing_if = "Option::is_none")]
    asked_for: Option<Username>,
    /// A possible reason why the search found no user.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    /// The token for the next page; null on the last page.
    #[schema(required)]
    next_page_token: Option<String>,
}

/// Finds a user by username, or lists all users
#[utoipa::path(
    get,
    path = "/users",
    operation_id = "list_users",
    tag = "provision",
    params(Listing),
    responses((status = 200, description = "A page of users, empty for an unknown username", body = Found)),
    security(("bearer" = ["flexgate.users.read"])),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    query: Query,
    headers: HeaderMap,
    context: Context,
) -> Result<axum::Json<Found>, Problem> {
    authorize(&app, &headers, Scope::UsersRead, "read_users", &context).await?;
    let flex = app.provisioning.flex();
    let (username, size, token) = (query.once("username")?, query.once("page_size")?, query.once("page_token")?);
    let size = size.map_or(Ok(DEFAULT_PAGE), |text| match text.parse() {
        Ok(size @ 1..=MAX_PAGE) => Ok(size),
        _ => Err(Query::wrong("page_size", "must be a whole number from 1 to 1000")),
    })?;
    if token.is_some_and(|token| token.chars().count() > 1_024) {
        return Err(Query::wrong("page_token", "must have 1024 characters at most"));
    }
    if let Some(username) = username {
        let username: Username = username.parse().map_err(|error| Query::wrong("username", format!("{error}")))?;
        let found = flex.find(&username, context.deadline).await.map_err(|error| problem::of(&error.into()))?;
        let users: Vec<_> = found.into_iter().map(User::from).collect();
        let hint = users.is_empty().then(|| hint(&username));
        return Ok(axum::Json(Found { users, asked_for: Some(username), hint, next_page_token: None }));
    }
    let page = flex.list(size, token, context.deadline).await.map_err(|error| match error {
        // The page token is the only part of the request that Twilio can refuse.
        TwilioError::Refused(_) | TwilioError::NotFound(_) if token.is_some() => no_page(),
        error => problem::of(&error.into()),
    })?;
    let users = page.users.into_iter().map(User::from).collect();
    Ok(axum::Json(Found { users, asked_for: None, hint: None, next_page_token: page.next_page_token }))
}

/// Returns a hint for a caller whose search found no user with this name. In a query string, a plus sign means a space,
/// so a name with a space may be a name whose plus sign the caller has not escaped.
fn hint(username: &Username) -> &'static str {
    if username.as_str().contains(' ') {
        "In a query, + means a space. Write %2B for a plus sign."
    } else {
        "Usernames are compared exactly, so upper and lower case count."
    }
}

/// Returns the problem for a page token that Twilio refuses. The token may have expired or may never have been valid.
/// Flexgate cannot tell which, so the problem covers both cases.
fn no_page() -> Problem {
    Problem::new(kinds::PAGE_UNKNOWN, "Use next_page_token of an earlier answer as page_token, or start without it.")
}
