//! The handlers of `/users`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use flexgate::base::error_chain::with_causes;
use flexgate::domain::EventId;
use flexgate::domain::ledger::Source;
use flexgate::domain::{
    Caller, DesiredUser, FlexUser, FlexUserSid, ObservedRoles, Scope, Username, WorkerAttributes, WorkerSid, role_list,
};
use flexgate::telemetry::{Audit, Decision};
use flexgate::twilio::TwilioError;
use flexgate::users::ProvisioningError;
use flexgate::users::ledger::{News, Outcome};
use flexgate::web::openapi::{Email, Name};
use flexgate::web::{Context, Fields, Path, Problem, kinds};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::problem;

/// The desired state of a user.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Desired {
    /// Twilio's key for the user, compared exactly.
    #[schema(value_type = Name, example = "ada")]
    username: String,
    #[schema(value_type = Email, example = "ada@example.com")]
    email: String,
    #[schema(value_type = Name, example = "Ada Lovelace")]
    full_name: String,
    /// One or more of the roles in `FLEXGATE_ALLOWED_ROLES`.
    #[schema(min_items = 1, example = json!(["agent"]))]
    roles: Vec<Role>,
    worker: Option<Worker>,
}

/// A role that Flexgate can give.
#[derive(ToSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Agent,
    Supervisor,
    Admin,
}

/// The user's TaskRouter worker.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Worker {
    /// Each key ends with its type, as Flex requires (`language.string`). Values are strings, numbers or booleans.
    #[schema(value_type = Option<BTreeMap<String, Attribute>>, example = json!({ "language.string": "en" }))]
    attributes: Option<BTreeMap<String, Value>>,
}

/// A worker attribute.
#[derive(ToSchema, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
enum Attribute {
    Text(String),
    Number(f64),
    Flag(bool),
}

/// Which user.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(super) struct UserPath {
    /// The user's SID.
    #[param(pattern = "^FU[0-9a-fA-F]{32}$", example = "FU00000000000000000000000000000001")]
    flex_user_sid: String,
}

/// A Flex user. Fields that Twilio omits are null.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    #[schema(value_type = String, pattern = "^FU[0-9a-fA-F]{32}$", example = "FU00000000000000000000000000000001")]
    flex_user_sid: FlexUserSid,
    /// Twilio's key for the user; not an e-mail address.
    #[schema(value_type = String, example = "ada")]
    username: Username,
    #[schema(required, example = "ada@example.com")]
    email: Option<String>,
    #[schema(required, example = "Ada Lovelace")]
    full_name: Option<String>,
    #[schema(value_type = Option<Vec<String>>, required, example = json!(["agent"]))]
    roles: Option<ObservedRoles>,
    #[schema(required, example = "en-us")]
    locale: Option<String>,
    /// True for a deprovisioned user, because Flex never deletes users.
    #[schema(required)]
    deactivated: Option<bool>,
    /// The TaskRouter worker. A deprovisioned user has none.
    #[schema(value_type = Option<String>, required, example = "WK00000000000000000000000000000001")]
    worker_sid: Option<WorkerSid>,
    #[schema(required, example = "2026-11-24T07:00:00Z")]
    created_date: Option<String>,
    #[schema(required, example = "2026-11-24T07:00:00Z")]
    updated_date: Option<String>,
    /// Twilio's version number, which grows with each change.
    #[schema(required)]
    version: Option<u64>,
}

impl From<FlexUser> for User {
    fn from(user: FlexUser) -> Self {
        Self {
            flex_user_sid: user.flex_user_sid,
            username: user.username,
            email: user.email,
            full_name: user.full_name,
            roles: user.roles,
            locale: user.locale,
            deactivated: user.deactivated,
            worker_sid: user.worker_sid,
            created_date: user.created_date,
            updated_date: user.updated_date,
            version: user.version,
        }
    }
}

/// Provisions a user
///
/// Creates the user, updates or reactivates an existing one, or leaves it unchanged. Idempotent.
#[utoipa::path(
    post,
    path = "/users",
    operation_id = "provision",
    tag = "provision",
    request_body = Desired,
    responses(
        (status = 201, description = "Created", body = User),
        (status = 200, description = "Updated or unchanged", body = User),
    ),
    security(("bearer" = ["flexgate.users.write"])),
)]
pub(crate) async fn provision(
    State(app): State<Arc<App>>,
    context: Context,
    request: Request,
) -> Result<Response, Problem> {
    let caller = authorize(&app, request.headers(), Scope::UsersWrite, "provision", &context).await?;
    let desired = read(Fields::read(request).await?)?;
    check_username("provision", &caller, &desired.username, &context)?;
    if let Some(role) = app.policy.forbidden_role(&desired.roles) {
        audit("provision", &caller, None, Some("role_forbidden"), &context);
        let detail = format!("The role {role} is not among FLEXGATE_ALLOWED_ROLES.");
        return Err(Problem::new(kinds::ROLE_FORBIDDEN, detail));
    }
    let news = News::user(Source::Api, desired, app.clock_rng.now(), &cause(&context));
    let report = app.ledger.state(&news, context.deadline).await.map_err(problem::of_ledger)?;
    let (status, reason) = match report.outcome {
        Outcome::Created => (StatusCode::CREATED, "created"),
        Outcome::Updated => (StatusCode::OK, "updated"),
        _ => (StatusCode::OK, "unchanged"),
    };
    if !report.blocked.is_empty() {
        let detail = format!(
            "Flex shows a role that Flexgate cannot give, and changing {} would remove it. Do that in the Console.",
            report.blocked.join(", ")
        );
        return Err(Problem::new(kinds::TWILIO_REFUSED, detail));
    }
    // Unreachable: for an active person, the ledger returns a Flex user or an error.
    let Some(user) = report.user else {
        return Err(Problem::new(kinds::INTERNAL, "Give the request's id to your administrator."));
    };
    let user = User::from(user);
    audit("provision", &caller, Some((&user.flex_user_sid, reason)), None, &context);
    Ok((status, axum::Json(user)).into_response())
}

/// Shows a user
#[utoipa::path(
    get,
    path = "/users/{flex_user_sid}",
    operation_id = "show_user",
    tag = "provision",
    params(UserPath),
    responses((status = 200, description = "The user", body = User)),
    security(("bearer" = ["flexgate.users.read"])),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    context: Context,
) -> Result<axum::Json<impl Serialize>, Problem> {
    authorize(&app, &headers, Scope::UsersRead, "read_users", &context).await?;
    let user = app.provisioning.flex().get(&parse_sid(&sid)?, context.deadline).await;
    Ok(axum::Json(User::from(user.map_err(|error| of_named_user(error.into()))?)))
}

/// Deprovisions a user
///
/// The user stays in Flex, deactivated and without a worker, and `GET` still shows it. Idempotent.
#[utoipa::path(
    delete,
    path = "/users/{flex_user_sid}",
    operation_id = "deprovision",
    tag = "provision",
    params(UserPath),
    responses((status = 204, description = "The user is deprovisioned")),
    security(("bearer" = ["flexgate.users.write"])),
)]
pub(crate) async fn deprovision(
    State(app): State<Arc<App>>,
    Path(sid): Path<String>,
    headers: HeaderMap,
    context: Context,
) -> Result<StatusCode, Problem> {
    let caller = authorize(&app, &headers, Scope::UsersWrite, "deprovision", &context).await?;
    let sid = parse_sid(&sid)?;
    let user =
        app.provisioning.flex().get(&sid, context.deadline).await.map_err(|error| of_named_user(error.into()))?;
    check_username("deprovision", &caller, &user.username, &context)?;
    let leaves = News::end(Source::Api, user, app.clock_rng.now(), &cause(&context));
    let report = app.ledger.state(&leaves, context.deadline).await.map_err(problem::of_ledger)?;
    if report.outcome == Outcome::NoUser {
        return Err(unknown());
    }
    audit("deprovision", &caller, Some((&sid, "deprovisioned")), None, &context);
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the request's id, which the ledger stores as the cause of the change.
fn cause(context: &Context) -> EventId {
    context.request_id.as_str().parse().unwrap_or_else(|_| EventId::from(0))
}

/// Returns the verified caller. Fails if the caller's token lacks the scope.
pub(super) async fn authorize(
    app: &App,
    headers: &HeaderMap,
    scope: Scope,
    action: &'static str,
    context: &Context,
) -> Result<Caller, Problem> {
    let caller = app.verifier.verify(headers, context.deadline).await.map_err(|error| {
        Audit { action, reason: Some(&with_causes(&error)), ..Audit::default() }
            .write(&context.request_id, Decision::Refused);
        Problem::from(&error)
    })?;
    if caller.scopes.grant(scope) {
        return Ok(caller);
    }
    audit(action, &caller, None, Some("scope_missing"), context);
    Err(Problem::new(kinds::SCOPE_MISSING, format!("The token needs the scope {scope}.")))
}

/// Refuses a caller whose issuer is not allowed to use this username.
pub(super) fn check_username(
    action: &str,
    caller: &Caller,
    username: &Username,
    context: &Context,
) -> Result<(), Problem> {
    if caller.limits.allow(username) {
        return Ok(());
    }
    audit(action, caller, None, Some("username_forbidden"), context);
    Err(Problem::new(kinds::USERNAME_FORBIDDEN, "Your issuer may not use this username. Ask your administrator."))
}

fn read(mut fields: Fields) -> Result<DesiredUser, Problem> {
    let username = fields.text("username");
    let email = fields.text("email");
    let full_name = fields.text("full_name");
    let roles = fields.required("roles", |value| role_list(&value).map_err(|error| error.to_string()));
    let worker = fields.optional("worker", worker);
    let desired = || {
        Some(DesiredUser {
            username: username?,
            email: email?,
            full_name: full_name?,
            roles: roles?,
            worker_attributes: worker.flatten(),
        })
    };
    fields.finish(desired())
}

/// Reads the field `worker` in Twilio's two forms: `{}` and `{"attributes": {…}}`.
fn worker(value: Value) -> Result<Option<WorkerAttributes>, String> {
    let Value::Object(mut worker) = value else { return Err("must be an object, which may be empty".to_owned()) };
    let attributes = worker.remove("attributes");
    if !worker.is_empty() {
        return Err("may contain only attributes".to_owned());
    }
    match attributes {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => {
            WorkerAttributes::try_from(map).map(Some).map_err(|error| format!("attributes {error}"))
        }
        Some(_) => Err("attributes must be an object".to_owned()),
    }
}

pub(super) fn parse_sid(unverified: &str) -> Result<FlexUserSid, Problem> {
    unverified.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(kinds::USER_UNKNOWN, "Look users up with GET /users?username=….")
}

/// Converts an error about the user in the request's path. If Twilio does not know the user, the answer is 404.
pub(super) fn of_named_user(error: ProvisioningError) -> Problem {
    match error {
        ProvisioningError::Twilio(TwilioError::NotFound(_)) => unknown(),
        other => problem::of(&other),
    }
}

pub(super) fn audit(
    action: &str,
    caller: &Caller,
    done: Option<(&FlexUserSid, &str)>,
    refused: Option<&str>,
    context: &Context,
) {
    let decision = if done.is_some() { Decision::Allowed } else { Decision::Refused };
    Audit {
        action,
        issuer: Some(&caller.identity.issuer),
        subject: Some(&caller.identity.subject),
        flex_user_sid: done.map(|(user, _)| user.as_str()),
        reason: refused.or(done.map(|(_, reason)| reason)),
    }
    .write(&context.request_id, decision);
}
