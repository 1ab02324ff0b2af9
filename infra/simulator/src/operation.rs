//! Gives each call the name of its operation. The control API shows how often each operation was called.

use axum::http::Method;

use crate::call::{Call, Service};

pub(crate) const PREFLIGHT: &str = "preflight";

/// Returns the operation's name. The names are a fixed set, so the number of counters stays limited whatever paths
/// clients request.
pub(crate) fn name(call: &Call) -> &'static str {
    if call.method == Method::OPTIONS {
        return PREFLIGHT;
    }
    let segments = call.segments();
    match (call.service, call.method.as_str(), segments.as_slice()) {
        (Service::FlexApi, _, ["v1", "Accounts", _, "Tokens", "Info"]) => "token_info",
        (Service::FlexApi, _, ["v1", "Configuration"]) => "account_configuration",
        (Service::FlexApi, method, [version, "Instances", _, rest @ ..]) => of_instance(method, version, rest),
        (Service::FlexApi, _, ["v1", "Configuration", "Public"]) => "public_configuration",
        (Service::Taskrouter, method, ["v1", "Workspaces", _, rest @ ..]) => of_workspace(method, rest),
        (Service::Preview, _, ["Flex", "graphql"]) => "graphql_request",
        (Service::EventBridge, _, ["graphql-subscriptions"]) => "graphql_events",
        (Service::Services, _, ["v1", "Flex", "Authentication", "Config"]) => "sso_configuration",
        (Service::Services, _, ["v1", "Flex", "OAuth", "Tokens"]) => "exchange_token",
        (Service::Services, _, ["v1", "Flex", "Authorize"]) => "sso_authorize",
        (Service::Services, _, ["v1", "Flex", "SSO", "Callback"]) => "sso_callback",
        (Service::Iam, _, ["v1", "Accounts", _, "Tokens", "validate"]) => "validate_token",
        (Service::Flex, _, ["api", "v1", "Session"]) => "session_features",
        (Service::EventBridge, "GET", ["v1", "wschannels"]) => "worker_events",
        (Service::EventBridge, _, ["v1", "wschannels"]) => "worker_request",
        (Service::Idp, _, _) => "identity_provider",
        _ => "other",
    }
}

fn of_workspace(method: &str, rest: &[&str]) -> &'static str {
    match (method, rest) {
        ("GET", ["Activities"]) => "list_activities",
        ("GET", ["Workers"]) => "list_workers",
        ("GET", ["Workers", _]) => "get_worker",
        ("POST", ["Workers", _]) => "update_worker",
        _ => "other",
    }
}

fn of_instance(method: &str, version: &str, rest: &[&str]) -> &'static str {
    match (method, version, rest) {
        (_, "v4", ["Users", "Provision"]) => "provision_user",
        (_, "v4", ["Users", "Deprovision"]) => "deprovision_user",
        (_, "v4", ["Users"]) => "find_user",
        (_, "v4", ["Users", _]) => "get_user",
        (_, "v4", ["Users", _, "Tokens"]) => "mint_token",
        (_, "v1", ["Users"]) => "list_users",
        (_, "v2", ["Users", _]) => "update_user",
        ("GET", "v1", ["Teams"]) => "list_teams",
        ("POST", "v1", ["Teams"]) => "create_team",
        ("GET", "v1", ["Teams", _]) => "get_team",
        ("POST", "v1", ["Teams", _]) => "update_team",
        ("DELETE", "v1", ["Teams", _]) => "delete_team",
        ("GET", "v1", ["Teams", _, "Members"]) => "list_members",
        ("POST", "v1", ["Teams", _, "Members"]) => "add_member",
        ("GET", "v1", ["Teams", _, "Owners"]) => "list_owners",
        ("POST", "v1", ["Teams", _, "Owners"]) => "add_owner",
        ("DELETE", "v1", ["Teams", _, "Owners", _]) => "remove_owner",
        _ => "other",
    }
}
