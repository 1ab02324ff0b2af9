//! Checks tokens. The SDK calls `Tokens/Info` with its own token, and servers call the IAM API with the account's
//! credentials.

use serde_json::{Value, json};

use super::credentials::{self, presented_token};
use super::jwe::{Claims, Refused};
use super::{Outcome, TwilioError, provision};
use crate::call::Call;
use crate::switches::Numeric as _;
use crate::world::World;
use crate::{clock, web};

pub(super) fn tokens_info(world: &World, call: &Call) -> Outcome {
    match presented_token(call) {
        Some(token) => drop(authenticated(world, &token)?),
        None => credentials::require(world, call)?,
    }
    let form = call.form();
    let token = form.get("Token").filter(|token| !token.is_empty());
    let token =
        token.ok_or_else(|| TwilioError::new(400, 20001, "Missing required parameter Token in the post body"))?;
    let claims = authenticated(world, token)?;
    let state = world.state();
    let mut shape = json!({
        "account_sid": claims.account_sid, "flex_instance_sid": claims.instance_sid, "flex_user_sid": claims.flex_user_sid,
        "identity": claims.identity, "username": claims.username, "name_id": claims.username,
        "realm_user_id": claims.username, "roles": claims.roles, "permissions": claims.permissions,
        "worker_sid": claims.worker_sid, "expiration": clock::rfc3339(claims.exp),
    });
    if state.switches.are_sparse()
        && let Some(members) = shape.as_object_mut()
    {
        for name in ["username", "permissions", "worker_sid", "name_id"] {
            members.remove(name);
        }
    }
    Ok(web::json(web::status(state.switches.info_status.status()), &shape))
}

/// Returns the claims of a token that is valid now.
pub(super) fn authenticated(world: &World, token: &str) -> Result<Claims, TwilioError> {
    world.token_key.verify(&world.state(), token).map_err(|refused| match refused {
        Refused::Invalid => TwilioError::new(401, 20101, "Invalid Access Token"),
        Refused::Expired => TwilioError::new(401, 20104, "Access Token expired or expiration date invalid"),
    })
}

pub(super) fn validate(world: &World, call: &Call) -> Outcome {
    let body = provision::object(call)?;
    let token =
        body.get("token").and_then(Value::as_str).ok_or_else(|| TwilioError::new(400, 20001, "token is required"))?;
    let state = world.state();
    let (status, shape) = match world.token_key.verify(&state, token) {
        Ok(claims) => (
            200,
            json!({
                "valid": true, "code": 0, "message": null, "expiration": clock::rfc3339(claims.exp),
                "realm_user_id": claims.username, "identity": claims.identity, "roles": claims.roles,
                "worker_sid": claims.worker_sid,
            }),
        ),
        Err(refused) => {
            let (code, message) = match refused {
                Refused::Invalid => (20101, "Invalid Access Token"),
                Refused::Expired => (20104, "Access Token expired or expiration date invalid"),
            };
            (
                state.switches.iam_invalid_status.status(),
                json!({
                    "valid": false, "code": code, "message": message, "expiration": null, "realm_user_id": null,
                    "identity": null, "roles": null, "worker_sid": null,
                }),
            )
        }
    };
    Ok(web::json(web::status(status), &shape))
}
