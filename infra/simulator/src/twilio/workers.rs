//! `TaskRouter`'s API for workers and activities, as servers use it. A deprovisioned user has no worker.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::channel::{self, Change};
use super::directory::FlexUser;
use super::expression::Expression;
use super::lookup::{page_asked_for, page_meta};
use super::worker::Worker;
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::web;
use crate::world::World;

pub(super) fn route(world: &World, call: &Call, method: &str, rest: &[&str]) -> Outcome {
    match (method, rest) {
        ("GET", ["Activities"]) => activities(call),
        ("GET", ["Workers"]) => list(world, call),
        ("GET", ["Workers", worker]) => get(world, worker),
        ("POST", ["Workers", worker]) => update(world, call, worker),
        (_, ["Activities" | "Workers"] | ["Workers", _]) => Err(TwilioError::method_not_allowed()),
        _ => Err(TwilioError::not_found(&call.path)),
    }
}

fn activities(call: &Call) -> Outcome {
    let (size, page, start) = page_asked_for(call)?;
    let all = channel::activities();
    let shown: Vec<_> = all.iter().skip(start).take(size).collect();
    let meta = page_meta(call, "activities", (size, page, start), all.len());
    Ok(web::json(StatusCode::OK, &json!({ "activities": shown, "meta": meta })))
}

/// Lists the workers that `TargetWorkersExpression` selects, in the order in which their users were created.
fn list(world: &World, call: &Call) -> Outcome {
    let (size, page, start) = page_asked_for(call)?;
    let expression = call.query("TargetWorkersExpression").filter(|text| !text.trim().is_empty());
    let expression = expression
        .map(Expression::parse)
        .transpose()
        .map_err(|why| TwilioError::new(400, 20001, format!("TargetWorkersExpression is not valid: {why}")))?;
    let state = world.state();
    let users = state.lasting.directory.users();
    let selected = |user: &FlexUser, worker: &Worker| {
        let attributes = || Value::Object(worker.full_attributes(user));
        expression.as_ref().is_none_or(|expression| expression.holds(&attributes()))
    };
    let all = users.iter().filter_map(|user| Some((user, user.worker.as_ref()?)));
    let all: Vec<_> = all.filter(|(user, worker)| selected(user, worker)).collect();
    let shown = all.get(start..).unwrap_or_default().iter().take(size);
    let workers: Vec<Value> = shown.map(|(user, worker)| worker.payload(user)).collect();
    let meta = page_meta(call, "workers", (size, page, start), all.len());
    Ok(web::json(StatusCode::OK, &json!({ "workers": workers, "meta": meta })))
}

fn get(world: &World, sid: &str) -> Outcome {
    let state = world.state();
    let (user, worker) = state.lasting.directory.by_worker(sid).ok_or_else(|| TwilioError::not_found(sid))?;
    Ok(tagged(&worker.payload(user)))
}

/// Changes the worker's activity, its attributes, or both. New attributes replace all old ones. With `If-Match`, fails
/// if the worker has another version.
fn update(world: &World, call: &Call, sid: &str) -> Outcome {
    let form = call.form();
    if form.get("RejectPendingReservations").is_some_and(|value| value.parse::<bool>().is_err()) {
        return Err(TwilioError::new(400, 20001, "RejectPendingReservations must be true or false"));
    }
    let attributes = form.get("Attributes").map(|text| channel::attributes(&text.into())).transpose()?;
    let expected = call.header("if-match").map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
    let change = Change { activity: form.get("ActivitySid"), attributes, expected };
    Ok(tagged(&channel::change(world, sid, change)?))
}

/// An answer with the worker's version as its `ETag`.
fn tagged(worker: &Value) -> Response {
    let mut response = web::json(StatusCode::OK, worker);
    let version = worker.get("version").and_then(Value::as_str).unwrap_or_default();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
