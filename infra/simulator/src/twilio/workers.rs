//! `TaskRouter`'s workers. A deprovisioned user has no worker.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::lookup::{page_asked_for, page_meta};
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::web;
use crate::world::World;

/// Lists all workers page by page, in the order in which their users were created.
pub(super) fn list(world: &World, call: &Call) -> Outcome {
    let (size, page, start) = page_asked_for(call)?;
    let state = world.state();
    let users = state.lasting.directory.users();
    let all: Vec<_> = users.iter().filter_map(|user| Some((user, user.worker.as_ref()?))).collect();
    let shown = all.get(start..).unwrap_or_default().iter().take(size);
    let workers: Vec<Value> = shown.map(|(user, worker)| worker.payload(user)).collect();
    let meta = page_meta(call, "workers", (size, page, start), all.len());
    Ok(web::json(StatusCode::OK, &json!({ "workers": workers, "meta": meta })))
}

pub(super) fn get(world: &World, sid: &str) -> Outcome {
    let state = world.state();
    let (user, worker) = state.lasting.directory.by_worker(sid).ok_or_else(|| TwilioError::not_found(sid))?;
    Ok(web::json(StatusCode::OK, &worker.payload(user)))
}
