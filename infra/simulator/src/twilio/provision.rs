//! The operations that change a Flex user: provision, deprovision, update.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::directory::{self, ROLES, Wanted};
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::switches::Numeric as _;
use crate::web;
use crate::world::World;

const LONGEST: usize = 256;

pub(super) fn provision(world: &World, call: &Call) -> Outcome {
    let wanted = wanted(&object(call)?)?;
    let mut state = world.state();
    let (user, created) = directory::upsert(&mut state, wanted).map_err(TwilioError::body)?;
    let switches = &state.switches;
    let status = if created { switches.provision_status.status() } else { switches.provision_update_status.status() };
    Ok(web::json(web::status(status), &user.provisioned(&state.lasting.directory, switches.are_sparse())))
}

pub(super) fn deprovision(world: &World, call: &Call) -> Outcome {
    let body = object(call)?;
    let sid = required_text(&body, "flex_user_sid")?;
    let mut state = world.state();
    let now = state.now();
    let twice = state.switches.deprovision_twice_status.status();
    let directory = &mut state.lasting.directory;
    let user = directory.by_sid(&sid).ok_or_else(|| TwilioError::not_found(&sid))?;
    if user.deactivated {
        return match twice {
            204 => Ok(web::empty(StatusCode::NO_CONTENT)),
            404 => Err(TwilioError::not_found(&sid)),
            status => Err(TwilioError::new(status, 45008, "The user is already deactivated")),
        };
    }
    directory.change(&sid, |user| user.deactivate(now));
    Ok(web::empty(StatusCode::NO_CONTENT))
}

/// Updates a user (Twilio's v2 API). The body is a form. Only `Email`, `UserSid` and `Locale` can be changed.
pub(super) fn update(world: &World, call: &Call, sid: &str) -> Outcome {
    let form = call.form();
    let mut state = world.state();
    let now = state.now();
    let directory = &mut state.lasting.directory;
    if directory.by_sid(sid).is_none() {
        return Err(TwilioError::not_found(sid));
    }
    let email = form.get("Email");
    if email.is_some_and(|email| email.is_empty() || email.chars().count() > LONGEST) {
        return Err(TwilioError::body("Email must have 1 to 256 characters"));
    }
    let changed = directory.change(sid, |user| {
        if let Some(email) = email {
            email.clone_into(&mut user.email);
        }
        if let Some(user_sid) = form.get("UserSid") {
            user.user_sid = Some(user_sid.to_owned());
        }
        if let Some(locale) = form.get("Locale") {
            user.locale = Some(locale.to_owned());
        }
        user.updated = now;
        user.version += 1;
        user.clone()
    });
    let user = changed.ok_or_else(|| TwilioError::not_found(sid))?;
    Ok(shown(&user, state.switches.are_sparse()))
}

fn shown(user: &directory::FlexUser, sparse: bool) -> Response {
    let mut shape = user.flat(sparse);
    if let Some(members) = shape.as_object_mut() {
        members.insert("user_sid".to_owned(), json!(user.user_sid));
    }
    web::json(StatusCode::OK, &shape)
}

/// Parses the body as a JSON object.
pub(super) fn object(call: &Call) -> Result<Map<String, Value>, TwilioError> {
    serde_json::from_slice(&call.body)
        .map_err(|error| TwilioError::body(format!("The body is not a JSON object: {error}")))
}

fn wanted(body: &Map<String, Value>) -> Result<Wanted, TwilioError> {
    let absent = |name: &&str| body.get(*name).is_none_or(Value::is_null);
    if let Some(name) = ["full_name", "email", "roles"].iter().find(|name| absent(name)) {
        return Err(TwilioError::new(400, 45050, format!("Missing required field {name}"))
            .with_detail(format!("{name} is required")));
    }
    let email = required_text(body, "email")?;
    if !email.contains('@') {
        return Err(TwilioError::body("email is not an address"));
    }
    let worker =
        body.get("worker").and_then(Value::as_object).ok_or_else(|| TwilioError::body("worker must be an object"))?;
    let attributes = match worker.get("attributes") {
        None | Some(Value::Null) => None,
        Some(Value::Object(attributes)) => Some(attributes.clone()),
        Some(_) => return Err(TwilioError::body("worker.attributes must be an object")),
    };
    Ok(Wanted {
        username: required_text(body, "username")?,
        email,
        full_name: required_text(body, "full_name")?,
        roles: roles(body.get("roles"))?,
        attributes,
    })
}

fn roles(given: Option<&Value>) -> Result<Vec<String>, TwilioError> {
    let list = given.and_then(Value::as_array).filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| TwilioError::body("roles must be a non-empty list"))?;
    let mut roles: Vec<String> = Vec::new();
    for role in list {
        let known = role.as_str().filter(|role| ROLES.contains(role));
        let role =
            known.ok_or_else(|| TwilioError::body(format!("roles: {role} is not agent, supervisor or admin")))?;
        if !roles.iter().any(|have| have == role) {
            roles.push(role.to_owned());
        }
    }
    Ok(roles)
}

fn required_text(body: &Map<String, Value>, name: &str) -> Result<String, TwilioError> {
    match body.get(name) {
        Some(Value::String(text)) if (1..=LONGEST).contains(&text.chars().count()) => Ok(text.clone()),
        Some(Value::String(_)) => Err(TwilioError::body(format!("{name} must have 1 to {LONGEST} characters"))),
        Some(_) => Err(TwilioError::body(format!("{name} must be a string"))),
        None => Err(TwilioError::body(format!("{name} is required"))),
    }
}
