//! The account's configuration, and its SSO configuration.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::credentials::{self, presented_token};
use super::{Outcome, TwilioError, info};
use crate::call::Call;
use crate::world::World;
use crate::{ACCOUNT_SID, CLIENT_ID, INSTANCE_SID, RUNTIME_DOMAIN, SSO_PROFILE_SID, WORKSPACE_SID, clock, web};

/// `GET /v1/Configuration`. The caller has the account's credentials or, like the SDK, a token.
pub(super) fn account(world: &World, call: &Call) -> Outcome {
    match presented_token(call) {
        Some(token) => drop(info::authenticated(world, &token)?),
        None => credentials::require(world, call)?,
    }
    let now = clock::rfc3339(world.state().now());
    Ok(web::json(
        StatusCode::OK,
        &json!({
            "account_sid": ACCOUNT_SID, "flex_instance_sid": INSTANCE_SID, "flex_service_instance_sid": INSTANCE_SID,
            "taskrouter_workspace_sid": WORKSPACE_SID, "runtime_domain": RUNTIME_DOMAIN, "status": "ok",
            "service_version": "simulated", "ui_version": "2.x", "ui_language": "en-US", "attributes": {}, "features": [],
            "ui_attributes": {}, "taskrouter_offline_activity_sid": super::worker::ACTIVITIES[0].0,
            "messaging_service_instance_sid": null, "chat_service_instance_sid": null,
            "date_created": "2025-01-01T00:00:00Z", "date_updated": now,
            "url": format!("{}/v1/Configuration", call.own_url),
        }),
    ))
}

/// `GET /v1/Configuration/Public`, for the SDK's `getPublicConfig`: finds an account by its SID or its runtime domain.
/// Needs no credential.
pub(super) fn public(call: &Call) -> Outcome {
    let is_ours = match (call.query("AccountSid"), call.query("RuntimeDomain")) {
        (Some(account), None) => account == ACCOUNT_SID,
        (None, Some(domain)) => same_domain(domain),
        _ => return Err(TwilioError::new(400, 20001, "Either AccountSid or RuntimeDomain is required")),
    };
    let ours = json!({
        "account_sid": ACCOUNT_SID, "runtime_domain": RUNTIME_DOMAIN, "public_attributes": { "loginPopup": false },
    });
    let configurations: Vec<_> = Some(ours).filter(|_| is_ours).into_iter().collect();
    Ok(web::json(StatusCode::OK, &json!({ "configurations": configurations })))
}

/// Lists the public SSO configurations. Each non-empty query parameter filters the list.
pub(super) fn authentication(world: &World, call: &Call) -> Response {
    let entry = |active: bool, connection: &str, client: &str| {
        json!({
            "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "connection_name": connection, "client_id": client,
            "active": active, "app_type": "SinglePageApp",
        })
    };
    let mut list = Vec::new();
    if world.state().switches.config_inactive_first {
        list.push(entry(false, "JQ00000000000000000000000000000000", "retired-sso-client"));
    }
    list.push(entry(true, SSO_PROFILE_SID, CLIENT_ID));
    let filters = [
        ("AccountSid", "account_sid"),
        ("FlexInstanceSid", "instance_sid"),
        ("SSOProfileSid", "connection_name"),
        ("AppType", "app_type"),
    ];
    for (parameter, member) in filters {
        if let Some(wanted) = call.query(parameter).filter(|wanted| !wanted.is_empty()) {
            list.retain(|entry| entry.get(member).is_some_and(|value| value == wanted));
        }
    }
    if call.query("RuntimeDomain").is_some_and(|wanted| !wanted.is_empty() && !same_domain(wanted)) {
        list.clear();
    }
    web::json(StatusCode::OK, &json!({ "config_list": list }))
}

/// Whether `wanted` is the runtime domain, with or without the scheme and `.twil.io`.
fn same_domain(wanted: &str) -> bool {
    let bare =
        |text: &str| text.trim_start_matches("https://").trim_end_matches('/').trim_end_matches(".twil.io").to_owned();
    bare(wanted) == bare(RUNTIME_DOMAIN)
}
