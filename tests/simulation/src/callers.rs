//! Callers with a token: a service that manages users, and people who mint tokens for themselves.

use std::sync::Arc;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::model::{Minted, Says};
use crate::process::Function;
use crate::world::World;

pub(crate) async fn with_token(
    world: &World,
    claims: &Value,
    method: Method,
    path: &str,
    body: &Value,
) -> Request<Body> {
    let token = world.jwt(claims).await;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json");
    request.body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) }).unwrap()
}

pub(crate) fn service() -> Value {
    json!({ "sub": "service", "scope": "flexgate.users.read flexgate.users.write" })
}

/// The body of `POST /users`.
pub(crate) fn wanted(name: &str, supervisor: bool) -> Value {
    let roles = if supervisor { json!(["agent", "supervisor"]) } else { json!(["agent"]) };
    json!({ "username": name, "email": format!("{name}@example.com"), "full_name": format!("{name} Example"),
        "roles": roles })
}

/// Calls `POST /users`.
pub(crate) async fn provision(world: Arc<World>, name: String, supervisor: bool) {
    let says = Says { active: Some(true), supervisor: Some(supervisor) };
    let what = format!("the service provisions {name}, supervisor: {supervisor}");
    world.tell(&what);
    let call = world.model().person(&name).call(says);
    let body = wanted(&name, supervisor);
    let claims = service();
    let mut repeated = false;
    loop {
        let send = async || with_token(&world, &claims, Method::POST, "/users", &body).await;
        let Some(done) = world.insist(Function::Provision, &what, send).await else { return };
        repeated |= done.repeated;
        match done.reply.status {
            200 | 201 => {
                if done.reply.body["username"] != name.as_str() || done.reply.body["deactivated"] == true {
                    world.complain(format!("{what}: Flexgate answered with another user, or a deactivated one"));
                }
                return world.model().person(&name).accepted(call);
            }
            // The key that signed the token may be new, and Flexgate fetches new keys at most once a minute. So try
            // again later.
            401 => tokio::time::sleep(std::time::Duration::from_secs(30)).await,
            409 => {
                if !repeated {
                    world.model().person(&name).refused(call);
                }
                return;
            }
            status => return world.complain(format!("{what}: refused with {status}: {}", done.reply.body)),
        }
    }
}

/// Calls `DELETE /users/{sid}`.
pub(crate) async fn deprovision(world: Arc<World>, name: String) {
    let Some(user) = world.flex_user(&name).await else { return };
    let Some(sid) = user["flex_user_sid"].as_str().map(str::to_owned) else { return };
    let says = Says { active: Some(false), supervisor: None };
    let what = format!("the service deprovisions {name}");
    world.tell(&what);
    let call = world.model().person(&name).call(says);
    let (claims, path) = (service(), format!("/users/{sid}"));
    loop {
        let send = async || with_token(&world, &claims, Method::DELETE, &path, &Value::Null).await;
        let Some(done) = world.insist(Function::Provision, &what, send).await else { return };
        match done.reply.status {
            204 => return world.model().person(&name).accepted(call),
            401 => tokio::time::sleep(std::time::Duration::from_secs(30)).await,
            status => return world.complain(format!("{what}: refused with {status}: {}", done.reply.body)),
        }
    }
}

/// A person mints a token, without retries. The token must belong to the person, and Flexgate must refuse somebody who
/// has left.
pub(crate) async fn mint(world: Arc<World>, name: String, supervisor: bool) {
    let issued_at = world.now().unix_timestamp();
    let what = format!("{name} mints, supervisor: {supervisor}");
    world.tell(&what);
    let (before, gone) = {
        let mut model = world.model();
        let person = model.person(&name);
        (person.mints(issued_at, supervisor), person.inactive_since())
    };
    let claims = json!({
        "sub": format!("00u-{name}"), "preferred_username": name, "scope": "flexgate.token",
        "name": format!("{name} Example"), "email": format!("{name}@example.com"), "email_verified": true,
        "roles": if supervisor { json!(["supervisor"]) } else { json!([]) },
    });
    let request = with_token(&world, &claims, Method::POST, "/token", &json!({})).await;
    let reply = world.send(Function::Mint, request).await;
    let status = reply.as_ref().map_or(0, |reply| reply.status);
    world.tell(format!("{what}: {status} {}", reply.as_ref().map_or(&Value::Null, |reply| &reply.body["code"])));
    let done = match reply {
        Some(reply) if reply.status == 201 => {
            if gone.is_some() && gone == world.model().person(&name).inactive_since() {
                world.complain(format!("{what}: got a token although a source had said inactive before"));
            }
            owns(&world, &what, &name, &reply.body["access_token"]);
            Minted::Yes
        }
        // Flexgate answers 401 and 429 before it writes to the ledger, so these refusals leave no statement there. A
        // 403 may leave one: somebody may deactivate the user in the Console after Flexgate has written the statement.
        Some(reply) if matches!(reply.status, 401 | 429) => Minted::No(before),
        _ => Minted::Perhaps,
    };
    world.model().person(&name).minted(issued_at, done);
}

/// Records a complaint unless the token belongs to the person.
pub(crate) fn owns(world: &World, what: &str, name: &str, token: &Value) {
    let owner = token.as_str().and_then(|token| world.simulator.owner_of(token));
    if owner.as_deref() != Some(name) {
        world.complain(format!("{what}: the token is for {owner:?}"));
    }
}
