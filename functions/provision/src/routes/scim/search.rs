//! Serves `/.search`: all users and groups as one list, users first (RFC 7644 §3.4.3).

use std::sync::Arc;

use axum::extract::{Request, State};
use flexgate::web::Context;
use serde_json::Value;

use super::answer::Answer;
use super::body;
use super::failure::Failure;
use super::query::Asked;
use crate::scim::Scim;
use crate::scim::protocol::{Page, Paging, ProtocolError};

pub(super) async fn everything(
    State(scim): State<Arc<Scim>>,
    context: Context,
    request: Request,
) -> Result<Answer, Failure> {
    let asked = Asked::of_body(&body::read(request).await?, &scim.clock_rng)?;
    let Paging::Index { start, count } = asked.paging else {
        return Err(ProtocolError::InvalidValue("cursor works only at /Users and /Groups.".to_owned()).into());
    };
    let test = asked.test.as_ref();
    let users = scim.users.search(test, &asked.paging, context.deadline).await?;
    let of_users = users.total.unwrap_or_default();
    let left = count.saturating_sub(users.resources.len() as u64);
    let paging = Paging::Index { start: start.saturating_sub(of_users).max(1), count: left };
    let groups = scim.groups.search(test, &paging).await?;
    let total = of_users + groups.total.unwrap_or_default();
    let mut list =
        Answer::list(Page { total: Some(total), start: Some(start), ..users }, scim.users.schema(), &asked.shown);
    let groups = groups.resources.into_iter().map(|group| asked.shown.apply(scim.groups.schema(), group).into());
    list.append(groups.collect::<Vec<Value>>());
    Ok(list)
}
