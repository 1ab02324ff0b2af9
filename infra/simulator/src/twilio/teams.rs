//! Teams with members and owners. Each user is a member of exactly one team, initially the default team.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::team_list::{Part, Team, TeamList};
use super::{Outcome, TwilioError};
use crate::call::{Call, Form};
use crate::web;
use crate::world::World;
use crate::{ACCOUNT_SID, DEFAULT_TEAM_SID, INSTANCE_SID, clock};

const MOST_OWNERS: usize = 500;
const LEVELS: std::ops::RangeInclusive<u8> = 1..=3;

pub(super) fn route(world: &World, call: &Call, method: &str, rest: &[&str]) -> Outcome {
    match (method, rest) {
        ("GET", []) => Ok(list(world, call)),
        ("POST", []) => create(world, call),
        ("GET", [DEFAULT_TEAM_SID]) => Ok(web::json(StatusCode::OK, &default_team(world))),
        ("GET", [team]) => with_team(world, team, |team| Ok(web::json(StatusCode::OK, &shape(team)))),
        ("POST" | "DELETE", [DEFAULT_TEAM_SID]) => Err(TwilioError::body("The default team cannot be changed")),
        ("POST", [team]) => update(world, call, team),
        ("DELETE", [team]) => emptied(world.state().lasting.directory.teams.remove(team), team),
        ("GET", [DEFAULT_TEAM_SID, "Members"]) => Ok(default_members(world, call)),
        ("GET", [team, "Members"]) => {
            with_team(world, team, |team| Ok(listed(call, "members", &people(team, Part::Members))))
        }
        ("GET", [team, "Owners"]) => {
            with_team(world, team, |team| Ok(listed(call, "owners", &people(team, Part::Owners))))
        }
        ("POST", [team, "Members"]) => add(world, call, team, Part::Members),
        ("POST", [team, "Owners"]) => add(world, call, team, Part::Owners),
        ("DELETE", [team, "Owners", user]) => {
            emptied(world.state().lasting.directory.teams.leave(team, Part::Owners, user), team)
        }
        // Twilio cannot remove a member. A client moves the member to another team.
        (_, [_] | [_, "Members" | "Owners"] | [_, "Members" | "Owners", _]) => Err(TwilioError::method_not_allowed()),
        _ => Err(TwilioError::not_found(&call.path)),
    }
}

fn list(world: &World, call: &Call) -> Response {
    let default = default_team(world);
    let state = world.state();
    let teams: Vec<_> = std::iter::once(default).chain(state.lasting.directory.teams.iter().map(shape)).collect();
    listed(call, "teams", &teams)
}

fn create(world: &World, call: &Call) -> Outcome {
    let form = call.form();
    if form.get("FriendlyName").is_none() {
        return Err(TwilioError::new(400, 20001, "Missing required parameter FriendlyName in the post body"));
    }
    let mut state = world.state();
    let mut team = Team::new(state.now());
    let teams = &mut state.lasting.directory.teams;
    set(&mut team, &form, teams)?;
    let shape = shape(&team);
    teams.create(team);
    Ok(web::json(StatusCode::CREATED, &shape))
}

fn update(world: &World, call: &Call, sid: &str) -> Outcome {
    let mut state = world.state();
    let now = state.now();
    let teams = &mut state.lasting.directory.teams;
    let mut draft = teams.get(sid).ok_or_else(|| TwilioError::not_found(sid))?.clone();
    set(&mut draft, &call.form(), teams)?;
    draft.updated = Some(now);
    draft.version += 1;
    let shape = shape(&draft);
    teams.change(sid, |team| *team = draft);
    Ok(web::json(StatusCode::OK, &shape))
}

/// Sets the fields in the form. Other fields stay as they are.
fn set(team: &mut Team, form: &Form, teams: &TeamList) -> Result<(), TwilioError> {
    if let Some(name) = form.get("FriendlyName") {
        if name.is_empty() {
            return Err(TwilioError::body("FriendlyName must not be empty"));
        }
        name.clone_into(&mut team.friendly_name);
    }
    if let Some(description) = form.get("Description") {
        team.description = Some(description.to_owned());
    }
    if let Some(level) = form.get("Level") {
        let level = level.parse().ok().filter(|level| LEVELS.contains(level));
        team.level = level.ok_or_else(|| TwilioError::body("Level must be 1, 2 or 3"))?;
    }
    if let Some(parent) = form.get("ParentTeamSid") {
        let is_known = parent == DEFAULT_TEAM_SID || teams.get(parent).is_some();
        if !is_known || parent == team.sid {
            return Err(TwilioError::body("ParentTeamSid must be another team"));
        }
        team.parent = Some(parent.to_owned());
    }
    Ok(())
}

fn add(world: &World, call: &Call, team: &str, part: Part) -> Outcome {
    let form = call.form();
    let user = form.get("flex_user_sid").unwrap_or_default();
    let mut state = world.state();
    let directory = &mut state.lasting.directory;
    if directory.by_sid(user).is_none() {
        return Err(TwilioError::not_found(user));
    }
    let teams = &mut directory.teams;
    let is_default = team == DEFAULT_TEAM_SID && part == Part::Members;
    let known = teams.get(team);
    if known.is_none() && !is_default {
        return Err(TwilioError::not_found(team));
    }
    match part {
        Part::Owners if known.is_some_and(|team| team.count(part) >= MOST_OWNERS) => {
            return Err(TwilioError::body(format!("A team has at most {MOST_OWNERS} owners")));
        }
        Part::Owners => {}
        Part::Members => teams.leave_all(user),
    }
    teams.join(team, part, user);
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

fn listed(call: &Call, key: &str, items: &[Value]) -> Response {
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
    json!({ "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "team_sid": team, "flex_user_sid": sid })
}

fn shape(team: &Team) -> Value {
    json!({
        "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "team_sid": team.sid,
        "friendly_name": team.friendly_name, "description": team.description, "level": team.level,
        "parent_team_sid": team.parent, "member_count": team.count(Part::Members), "version": team.version,
        "date_created": clock::rfc3339(team.created),
        "date_updated": clock::rfc3339(team.updated.unwrap_or(team.created)),
    })
}

fn default_team(world: &World) -> Value {
    json!({
        "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "team_sid": DEFAULT_TEAM_SID,
        "friendly_name": "default", "description": null, "level": 1, "parent_team_sid": null,
        "member_count": members_of_default(world).len(), "version": 0,
        "date_created": "2025-01-01T00:00:00Z", "date_updated": "2025-01-01T00:00:00Z",
    })
}

fn default_members(world: &World, call: &Call) -> Response {
    let members: Vec<_> = members_of_default(world).iter().map(|user| person(DEFAULT_TEAM_SID, user)).collect();
    listed(call, "members", &members)
}

fn members_of_default(world: &World) -> Vec<String> {
    let state = world.state();
    let directory = &state.lasting.directory;
    let without_team =
        directory.users().iter().filter(|user| directory.teams.first_of(&user.sid, Part::Members).is_none());
    without_team.map(|user| user.sid.clone()).collect()
}
