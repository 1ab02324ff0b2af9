//! The control API, `/__sim`, with which tests inspect and change the simulator. Bodies are JSON. An unknown member is
//! an error.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::call::Call;
use crate::database::Database;
use crate::faults::Fault;
use crate::seed::Seed;
use crate::twilio::credentials::NewKey;
use crate::twilio::tasks;
use crate::world::World;
use crate::{ACCOUNT_SID, INSTANCE_SID, SSO_PROFILE_SID, WORKSPACE_SID, clock, web};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsChange {
    auth_token: Option<String>,
    #[serde(default)]
    keep_old: bool,
    api_key: Option<NewKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    offset_seconds: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustedChange {
    trusted_urls: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    token: String,
}

type Outcome = Result<Response, Refusal>;

/// Why the control API refuses a call.
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(crate) fn response(&self) -> Response {
        web::json(self.status, &json!({ "error": self.message }))
    }
}

pub(crate) fn answer(world: &World, call: &Call) -> Response {
    let segments = call.segments();
    match (call.method.as_str(), segments.get(1..).unwrap_or_default()) {
        ("GET", []) => Ok(overview(world)),
        ("POST", ["reset"]) => {
            world.reset();
            Ok(web::empty(StatusCode::NO_CONTENT))
        }
        ("GET", ["requests"]) => Ok(requests(world, call)),
        ("DELETE", ["requests"]) => {
            world.state().journal.clear();
            Ok(web::empty(StatusCode::NO_CONTENT))
        }
        ("GET", ["calls"]) => Ok(ok(&json!(world.state().journal.counts()))),
        ("GET", ["storage"]) => Ok(storage(world)),
        ("GET", ["users"]) => Ok(users(world)),
        ("POST", ["users"]) => seed(world, call),
        ("GET", ["faults"]) => Ok(ok(&json!({ "faults": world.state().faults }))),
        ("POST", ["faults"]) => add_faults(world, call),
        ("DELETE", ["faults"]) => {
            world.state().faults.clear();
            Ok(web::empty(StatusCode::NO_CONTENT))
        }
        ("GET", ["switches"]) => Ok(ok(&json!(world.state().switches))),
        ("POST", ["switches"]) => change_switches(world, call),
        ("POST", ["credentials"]) => change_credentials(world, call),
        ("GET", ["clock"]) => Ok(clock_answer(world)),
        ("POST", ["clock"]) => body::<ClockChange>(call).map(|change| {
            world.state().clock_offset = change.offset_seconds;
            clock_answer(world)
        }),
        ("GET", ["trusted-urls"]) => Ok(trusted(world)),
        ("POST", ["trusted-urls"]) => body::<TrustedChange>(call).map(|change| {
            world.state().trusted_urls = change.trusted_urls;
            trusted(world)
        }),
        ("GET", ["tasks"]) => Ok(ok(&json!({ "tasks": tasks::everything(&world.state()) }))),
        ("POST", ["tasks"]) => offer(world, call),
        ("POST", ["tokens", "revoke"]) => revoke(world, call),
        _ => Err(refuse(StatusCode::NOT_FOUND, "no such control: GET /__sim lists them")),
    }
    .unwrap_or_else(|refusal| refusal.response())
}

/// The start page at the simulator's own address.
pub(crate) fn front_page(world: &World) -> Response {
    let issuer = world.issuer();
    web::page(
        StatusCode::OK,
        "Flexgate simulator",
        &format!(
            "<h1 class=\"title\">Flexgate simulator</h1>\n\
             <p class=\"quiet\">Twilio Flex and a company identity provider on this machine. Nothing leaves it.</p>\n\
             <ul>\n<li><a href=\"/__sim\">Overview</a></li>\n<li><a href=\"/__sim/requests\">Requests so far</a></li>\n\
             <li><a href=\"/__sim/users\">Flex users</a></li>\n<li><a href=\"/__sim/tasks\">Tasks</a></li>\n\
             <li><a href=\"/__sim/switches\">Switches</a></li>\n\
             <li><a href=\"/idp/.well-known/openid-configuration\">Identity provider</a>: <code>{}</code></li>\n</ul>",
            web::escape(&issuer)
        ),
    )
}

fn overview(world: &World) -> Response {
    ok(&json!({
        "url": world.url, "issuer": world.issuer(), "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID,
        "workspace_sid": WORKSPACE_SID, "sso_profile_sid": SSO_PROFILE_SID,
        "controls": ["POST /__sim/reset", "GET|DELETE /__sim/requests?service=&path_contains=", "GET /__sim/calls",
            "GET|POST /__sim/users", "GET /__sim/storage", "GET|POST|DELETE /__sim/faults", "GET|POST /__sim/switches", "POST /__sim/credentials", "GET|POST /__sim/clock",
            "GET|POST /__sim/trusted-urls", "GET|POST /__sim/tasks", "POST /__sim/tokens/revoke", "POST /idp/__dev/token",
            "POST /idp/__dev/rotate-keys", "GET|POST /idp/__dev/people"],
    }))
}

fn requests(world: &World, call: &Call) -> Response {
    let state = world.state();
    ok(&json!({ "requests": state.journal.matching(call.query("service"), call.query("path_contains")) }))
}

fn users(world: &World) -> Response {
    let state = world.state();
    let users: Vec<Value> =
        state.lasting.directory.users().iter().map(crate::twilio::directory::FlexUser::everything).collect();
    ok(&json!({ "users": users }))
}

fn seed(world: &World, call: &Call) -> Outcome {
    let seed = body::<Seed>(call)?;
    let created = seed.sow(&mut world.state()).map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    Ok(web::json(StatusCode::CREATED, &json!({ "created": created })))
}

fn offer(world: &World, call: &Call) -> Outcome {
    let offer = body::<tasks::Offer>(call)?;
    let reservation = tasks::offer(world, offer).map_err(|why| refuse(StatusCode::BAD_REQUEST, &why))?;
    Ok(web::json(StatusCode::CREATED, &reservation))
}

fn storage(world: &World) -> Response {
    let state = world.state();
    ok(&json!({ "written": state.database.as_ref().map(Database::written) }))
}

fn add_faults(world: &World, call: &Call) -> Outcome {
    let fault = body::<Fault>(call)?;
    if let Some(complaint) = fault.complaint() {
        return Err(refuse(StatusCode::BAD_REQUEST, &complaint));
    }
    let mut state = world.state();
    state.faults.push(fault);
    Ok(web::json(StatusCode::CREATED, &json!({ "faults": state.faults })))
}

fn change_switches(world: &World, call: &Call) -> Outcome {
    let patch = body::<serde_json::Map<String, Value>>(call)?;
    let mut state = world.state();
    match state.switches.merged(&patch) {
        Ok(switches) => state.switches = switches,
        Err(error) => return Err(refuse(StatusCode::BAD_REQUEST, &error.to_string())),
    }
    Ok(ok(&json!(state.switches)))
}

fn change_credentials(world: &World, call: &Call) -> Outcome {
    let change = body::<CredentialsChange>(call)?;
    let mut state = world.state();
    if let Some(key) = change.api_key {
        let key = state.credentials.add_key(&key);
        return Ok(web::json(
            StatusCode::CREATED,
            &json!({ "account_sid": ACCOUNT_SID, "api_key_sid": key.sid, "api_key_secret": key.secret,
                "restricted": key.restricted, "foreign": key.foreign }),
        ));
    }
    state.credentials.rotate(change.auth_token, change.keep_old);
    Ok(ok(&json!({ "account_sid": ACCOUNT_SID, "auth_token": state.credentials.current() })))
}

fn clock_answer(world: &World) -> Response {
    let state = world.state();
    ok(&json!({ "offset_seconds": state.clock_offset, "now": state.now(), "time": clock::rfc3339(state.now()) }))
}

fn trusted(world: &World) -> Response {
    ok(&json!({ "trusted_urls": world.state().trusted_urls }))
}

fn revoke(world: &World, call: &Call) -> Outcome {
    let revocation = body::<Revocation>(call)?;
    let Some(claims) = world.token_key.open(&revocation.token) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "token: not one of this simulator's"));
    };
    world.state().lasting.revoked.put(claims.jti, ());
    Ok(web::empty(StatusCode::NO_CONTENT))
}

fn ok(body: &Value) -> Response {
    web::json(StatusCode::OK, body)
}

/// Parses the body as `T`. A missing body is treated as an empty object.
pub(crate) fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Refusal> {
    let text: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    serde_json::from_slice(text).map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string()))
}

pub(crate) fn refuse(status: StatusCode, message: &str) -> Refusal {
    Refusal { status, message: message.to_owned() }
}
