//! The POST endpoint of Twilio's event bridge. Through this one URL, the SDK reads and changes its `TaskRouter` worker,
//! the worker's tasks, and their calls.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bridge::WorkerEvent;
use super::tasks::reservations::Target;
use super::worker::ACTIVITIES;
use super::{Outcome, TwilioError, info, ours, tasks};
use crate::call::Call;
use crate::world::World;
use crate::{ACCOUNT_SID, WORKSPACE_SID, web};

/// The body of the SDK's request. It contains the actual request as JSON, although the SDK sends a form's content type.
#[derive(Deserialize)]
struct Wrapped {
    url: String,
    method: String,
    #[serde(default)]
    params: Map<String, Value>,
    token: String,
}

pub(super) fn proxy(world: &World, call: &Call) -> Outcome {
    let wrapped: Wrapped = serde_json::from_slice(&call.body)
        .map_err(|error| TwilioError::new(400, 20001, format!("Invalid body: {error}")))?;
    let claims = info::authenticated(world, &wrapped.token)?;
    let own = claims.worker_sid.ok_or_else(|| TwilioError::not_found("Worker"))?;
    let path: Vec<&str> = wrapped.url.split('/').filter(|segment| !segment.is_empty()).collect();
    let payload = match path.as_slice() {
        ["Workspaces", workspace, rest @ ..] => {
            ours(workspace, WORKSPACE_SID)?;
            in_workspace(world, &own, &wrapped, rest)?
        }
        ["v1", "Interactions", rest @ ..] => {
            tasks::channels::route(world, &own, &wrapped.method, rest, &wrapped.params)?
        }
        _ => return Err(TwilioError::not_found(&wrapped.url)),
    };
    Ok(web::json(StatusCode::OK, &json!({ "payload": payload })))
}

fn in_workspace(world: &World, own: &str, wrapped: &Wrapped, rest: &[&str]) -> Result<Value, TwilioError> {
    let Wrapped { method, params, .. } = wrapped;
    Ok(match (method.as_str(), rest) {
        ("GET", []) => {
            json!({ "sid": WORKSPACE_SID, "account_sid": ACCOUNT_SID, "friendly_name": "Flex Task Assignment" })
        }
        ("GET", ["Activities"]) => {
            json!({ "contents": activities(), "after_sid": null, "total": ACTIVITIES.len() })
        }
        ("GET", ["Workers", worker]) => worker_payload(world, worker)?,
        ("POST", ["Workers", worker]) => update(world, worker, own, params)?,
        ("GET", ["Workers", worker, "Reservations"]) if *worker == own => tasks::reservations::list(world, own, params),
        ("POST", ["Workers", worker, "Reservations", sid]) if *worker == own => {
            tasks::reservations::update(world, own, sid, params)?
        }
        ("POST", ["Workers", worker, "CustomerParticipant"]) if *worker == own => {
            tasks::reservations::hold(world, own, &Target::Customer, params)?
        }
        ("POST", ["Workers", worker, "HoldWorkerParticipant"]) if *worker == own => {
            tasks::reservations::hold(world, own, &Target::Worker, params)?
        }
        ("GET", _) => json!({ "contents": [], "after_sid": null, "total": 0 }),
        _ => return Err(TwilioError::not_found(&wrapped.url)),
    })
}

/// The activities in `TaskRouter`'s format.
pub(super) fn activities() -> Vec<Value> {
    let activity = |(sid, name, available): &(&str, &str, bool)| {
        json!({
            "sid": sid, "account_sid": ACCOUNT_SID, "workspace_sid": WORKSPACE_SID, "friendly_name": name,
            "available": available, "date_created": "2025-01-01T00:00:00Z", "date_updated": "2025-01-01T00:00:00Z",
        })
    };
    ACTIVITIES.iter().map(activity).collect()
}

fn worker_payload(world: &World, sid: &str) -> Result<Value, TwilioError> {
    let state = world.state();
    let (user, worker) = state.lasting.directory.by_worker(sid).ok_or_else(|| TwilioError::not_found(sid))?;
    Ok(worker.payload(user))
}

fn update(world: &World, sid: &str, own: &str, params: &Map<String, Value>) -> Result<Value, TwilioError> {
    if sid != own {
        return Err(TwilioError::new(403, 20403, "A token may change its own worker only"));
    }
    let activity = params.get("ActivitySid").and_then(Value::as_str);
    let attributes = params.get("Attributes").map(attributes).transpose()?;
    change(world, sid, Change { activity, attributes, expected: None })
}

/// A change of a worker.
pub(super) struct Change<'a> {
    pub(super) activity: Option<&'a str>,
    /// The new attributes. They replace all attributes of the worker.
    pub(super) attributes: Option<Map<String, Value>>,
    /// The version that the worker must have.
    pub(super) expected: Option<&'a str>,
}

/// Changes a worker. Each change sends an event to the worker's websockets.
pub(super) fn change(world: &World, sid: &str, change: Change<'_>) -> Result<Value, TwilioError> {
    let Change { activity, attributes, expected } = change;
    let mut state = world.state();
    let now = state.now();
    let directory = &mut state.lasting.directory;
    let found = directory.by_worker(sid).map(|(user, worker)| (user.sid.clone(), worker.version));
    let (user, version) = found.ok_or_else(|| TwilioError::not_found(sid))?;
    if expected.is_some_and(|expected| expected != version.to_string()) {
        return Err(TwilioError::new(412, 20412, "The worker has another version"));
    }
    if activity.is_some_and(|activity| !ACTIVITIES.iter().any(|(known, _, _)| *known == activity)) {
        return Err(TwilioError::new(400, 20001, "ActivitySid is not one of the workspace's"));
    }
    let mut events = Vec::new();
    let mut previous = Value::Null;
    directory.change(&user, |user| {
        let Some(worker) = &mut user.worker else { return };
        if let Some(activity) = activity {
            previous = worker.activity_sid.as_str().into();
            activity.clone_into(&mut worker.activity_sid);
            worker.activity_changed = now;
            events.push("worker.activity.update");
        }
        if let Some(mut attributes) = attributes {
            for owned in ["contact_uri", "full_name", "email", "roles", "team_sid"] {
                attributes.remove(owned);
            }
            worker.attributes = attributes;
            events.push("worker.attributes.update");
        }
        worker.updated = now;
        worker.version += 1;
    });
    let (user, worker) = directory.by_worker(sid).ok_or_else(|| TwilioError::not_found(sid))?;
    let mut payload = worker.payload(user);
    if let Some(members) = payload.as_object_mut() {
        members.insert("previous_activity_sid".to_owned(), previous);
    }
    for event_type in events {
        // `send` fails only if no websocket is open. Then nobody needs the event.
        let _ = world.events.send(WorkerEvent { worker_sid: sid.to_owned(), event_type, payload: payload.clone() });
    }
    Ok(payload)
}

/// Sets a worker offline after the worker's page has disconnected, if the page requested that.
pub(super) fn go_offline(world: &World, sid: &str) {
    let params = Map::from_iter([("ActivitySid".to_owned(), Value::from(ACTIVITIES[0].0))]);
    // Ignore an error, because the worker may be gone: its user may have been deprovisioned.
    let _ = update(world, sid, sid, &params);
    world.save();
}

/// Reads the attributes: an object from the SDK, or the same object as text from a REST client.
pub(super) fn attributes(given: &Value) -> Result<Map<String, Value>, TwilioError> {
    match given {
        Value::Object(members) => Some(members.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
    .ok_or_else(|| TwilioError::new(400, 20001, "Attributes must be a JSON object"))
}
