//! The routes of Twilio's hosts, with a module for each operation.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::call::{Call, Service};
use crate::switches::ErrorFormat;
use crate::world::World;
use crate::{ACCOUNT_SID, INSTANCE_SID, WORKSPACE_SID, web};

pub(crate) mod bridge;
mod channel;
mod configuration;
pub(crate) mod credentials;
pub(crate) mod directory;
mod error;
mod exchange;
mod expression;
pub(crate) mod graphql;
mod info;
pub(crate) mod jwe;
mod lookup;
mod mint;
mod provision;
pub(crate) mod sso;
pub(crate) mod tasks;
pub(crate) mod team_list;
mod teams;
pub(crate) mod worker;
mod workers;

use error::TwilioError;

type Outcome = Result<Response, TwilioError>;

pub(crate) fn answer(world: &World, call: &Call) -> Response {
    let as_problem = world.state().switches.rfc9457_errors == ErrorFormat::Problem;
    route(world, call).unwrap_or_else(|error| error.response(as_problem))
}

fn route(world: &World, call: &Call) -> Outcome {
    let segments = call.segments();
    match (call.service, call.method.as_str(), segments.as_slice()) {
        (Service::FlexApi, method, ["v1", "Accounts", account, "Tokens", "Info"]) => {
            only(method, "POST")?;
            ours(account, ACCOUNT_SID)?;
            info::tokens_info(world, call)
        }
        (Service::FlexApi, method, ["v1", "Configuration"]) => {
            only(method, "GET")?;
            configuration::account(world, call)
        }
        (Service::FlexApi, method, ["v1", "Configuration", "Public"]) => {
            only(method, "GET")?;
            configuration::public(call)
        }
        (Service::FlexApi, method, [version, "Instances", instance, rest @ ..]) => {
            credentials::require(world, call)?;
            ours(instance, INSTANCE_SID)?;
            instance_route(world, call, method, version, rest)
        }
        (Service::Services, method, ["v1", "Flex", "Authentication", "Config"]) => {
            only(method, "GET")?;
            Ok(configuration::authentication(world, call))
        }
        (Service::Services, method, ["v1", "Flex", "OAuth", "Tokens"]) => {
            only(method, "POST")?;
            exchange::tokens(world, call)
        }
        (Service::Services, "GET", ["v1", "Flex", "Authorize"]) => Ok(sso::authorize(world, call)),
        (Service::Services, "GET", ["v1", "Flex", "SSO", "Callback"]) => Ok(sso::callback(world, call)),
        (Service::Iam, method, ["v1", "Accounts", account, "Tokens", "validate"]) => {
            only(method, "POST")?;
            credentials::require(world, call)?;
            ours(account, ACCOUNT_SID)?;
            info::validate(world, call)
        }
        // Twilio gives this answer whatever the token is, so do not check the token.
        (Service::Flex, "GET", ["api", "v1", "Session"]) => {
            Ok(web::json(StatusCode::OK, &json!({ "features": [], "insights_active": false })))
        }
        (Service::Taskrouter, method, ["v1", "Workspaces", workspace, rest @ ..]) => {
            credentials::require(world, call)?;
            ours(workspace, WORKSPACE_SID)?;
            workers::route(world, call, method, rest)
        }
        (Service::Preview, method, ["Flex", "graphql"]) => graphql::answer(world, call, method),
        (Service::EventBridge, "POST", ["v1", "wschannels"]) => channel::proxy(world, call),
        _ => Err(TwilioError::not_found(&call.path)),
    }
}

fn instance_route(world: &World, call: &Call, method: &str, version: &str, rest: &[&str]) -> Outcome {
    match (version, rest) {
        ("v4", ["Users", "Provision"]) => {
            only(method, "POST")?;
            provision::provision(world, call)
        }
        ("v4", ["Users", "Deprovision"]) => {
            only(method, "POST")?;
            provision::deprovision(world, call)
        }
        ("v4", ["Users"]) => {
            only(method, "GET")?;
            lookup::find(world, call)
        }
        ("v4", ["Users", user]) => {
            only(method, "GET")?;
            lookup::get(world, user)
        }
        ("v4", ["Users", user, "Tokens"]) => {
            only(method, "POST")?;
            mint::mint(world, call, user)
        }
        ("v1", ["Users"]) => {
            only(method, "GET")?;
            lookup::list(world, call)
        }
        ("v2", ["Users", user]) => {
            only(method, "POST")?;
            provision::update(world, call, user)
        }
        ("v1", ["Teams", rest @ ..]) => teams::route(world, call, method, rest),
        _ => Err(TwilioError::not_found(&call.path)),
    }
}

fn only(method: &str, allowed: &str) -> Result<(), TwilioError> {
    if method == allowed { Ok(()) } else { Err(TwilioError::method_not_allowed()) }
}

/// Checks the SID in the path. Twilio answers "not found" for another account's resource.
fn ours(given: &str, expected: &str) -> Result<(), TwilioError> {
    if given == expected { Ok(()) } else { Err(TwilioError::not_found(given)) }
}
