//! The operations on teams, members and owners that a provisioning client needs.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::team_list::{Part, Team};
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::world::World;
use crate::{ACCOUNT_SID, INSTANCE_SID, clock, web};

pub(super) fn route(world: &World, call: &Call, method: &str, rest: &[&str]) -> Outcome {
    match (method, rest) {
        ("GET", []) => {
            let state = world.state();
            Ok(listed(call, "teams", &state.lasting.directory.teams.iter().map(shape).collect::<Vec<_>>()))
        }
        ("POST", []) => create(world, call),
        ("GET", [team]) => with_team(world, team, |team| Ok(web::json(StatusCode::OK, &shape(team)))),
        ("DELETE", [team]) => emptied(world.state().lasting.directory.teams.remove(team), team),
        ("GET", [team, "Members"]) => {
            with_team(world, team, |team| Ok(listed(call, "members", &people(team, Part::Members))))
        }
        ("GET", [team, "Owners"]) => {
            with_team(world, team, |team| Ok(listed(call, "owners", &people(team, Part::Owners))))
        }
        ("POST", [team, "Members"]) => add(world, call, team, Part::Members),
        ("POST", [team, "Owners"]) => add(world, call, team, Part::Owners),
        ("DELETE", [team, "Members", user]) => {
            emptied(world.state().lasting.directory.teams.leave(team, Part::Members, user), team)
        }
        ("DELETE", [team, "Owners", user]) => {
            emptied(world.state().lasting.directory.teams.leave(team, Part::Owners, user), team)
        }
        _ => Err(TwilioError::not_found(&call.path)),
    }
}

fn create(world: &World, call: &Call) -> Outcome {
    let form = call.form();
    let name = form.get("FriendlyName").filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| TwilioError::new(400, 20001, "Missing required parameter FriendlyName in the post body"))?;
    let mut state = world.state();
    let team = Team::new(name.to_owned(), form.get("Description").map(str::to_owned), state.now());
    let shape = shape(&team);
    state.lasting.directory.teams.create(team);
    Ok(web::json(StatusCode::CREATED, &shape))
}

fn add(world: &World, call: &Call, team: &str, part: Part) -> Outcome {
    let form = call.form();
    let user = form.get("FlexUserSid").unwrap_or_default();
    let mut state = world.state();
    let directory = &mut state.lasting.directory;
    if directory.by_sid(user).is_none() {
        return Err(TwilioError::not_found(user));
    }
    if !directory.teams.join(team, part, user) {
        return Err(TwilioError::not_found(team));
    }
    Ok(web::json(StatusCode::CREATED, &person(team, user)))
}

fn with_team(world: &World, sid: &str, show: impl FnOnce(&Team) -> Outcome) -> Outcome {
    let state = world.state();
    show(state.lasting.directory.teams.get(sid).ok_or_else(|| TwilioError::not_found(sid))?)
}

/// Answers 204, or 404 for an unknown team.
fn emptied(known: bool, team: &str) -> Outcome {
    if known { Ok(web::empty(StatusCode::NO_CONTENT)) } else { Err(TwilioError::not_found(team)) }
}

fn listed(call: &Call, key: &str, items: &[Value]) -> axum::response::Response {
    let url = format!("{}{}?PageSize=50&Page=0", call.own_url, call.path);
    web::json(
        StatusCode::OK,
        &json!({
            key: items,
            "meta": { "first_page_url": url, "key": key, "next_page_url": null, "page": 0, "page_size": 50,
                "previous_page_url": null, "url": url },
        }),
    )
}

fn people(team: &Team, part: Part) -> Vec<Value> {
    team.people(part).map(|user| person(&team.sid, user)).collect()
}

fn person(team: &str, sid: &str) -> Value {
    json!({ "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "flex_team_sid": team, "flex_user_sid": sid })
}

fn shape(team: &Team) -> Value {
    json!({
        "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "flex_team_sid": team.sid,
        "friendly_name": team.friendly_name, "description": team.description,
        "date_created": clock::rfc3339(team.created), "date_updated": clock::rfc3339(team.created),
    })
}
