//! The discovery endpoints. They tell clients which parts of SCIM Flexgate supports.

use std::sync::Arc;

use axum::extract::State;
use flexgate::web::Path;
use serde_json::Value;

use super::answer::Answer;
use super::failure::Failure;
use crate::scim::Scim;
use crate::scim::protocol::{resource_types as types, schemas as published, service_provider_config};

pub(super) async fn config(State(scim): State<Arc<Scim>>) -> Answer {
    Answer::plain(service_provider_config(&scim.base))
}

pub(super) async fn resource_types(State(scim): State<Arc<Scim>>) -> Answer {
    Answer::whole(&types(&[scim.users.schema(), scim.groups.schema()], &scim.base))
}

pub(super) async fn resource_type(State(scim): State<Arc<Scim>>, Path(id): Path<String>) -> Result<Answer, Failure> {
    one(types(&[scim.users.schema(), scim.groups.schema()], &scim.base), &id)
}

pub(super) async fn schemas(State(scim): State<Arc<Scim>>) -> Answer {
    Answer::whole(&published(&[scim.users.schema(), scim.groups.schema()], &scim.base))
}

pub(super) async fn schema(State(scim): State<Arc<Scim>>, Path(id): Path<String>) -> Result<Answer, Failure> {
    one(published(&[scim.users.schema(), scim.groups.schema()], &scim.base), &id)
}

fn one(all: Vec<Value>, id: &str) -> Result<Answer, Failure> {
    let found = all.into_iter().find(|value| value.get("id").and_then(Value::as_str) == Some(id));
    found.map(Answer::plain).ok_or_else(Failure::unknown)
}
