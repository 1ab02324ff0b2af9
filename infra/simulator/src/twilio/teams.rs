//! Teams, as far as a provisioning gateway meets them: list, create, members and owners.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::directory::Team;
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::world::World;
use crate::{ACCOUNT_SID, INSTANCE_SID, clock, random, web};

pub(super) fn route(world: &World, call: &Call, method: &str, rest: &[&str]) -> Outcome {
    match (method, rest) {
        ("GET", []) => {
            let state = world.state();
            Ok(listed(call, "teams", &state.lasting.directory.teams.iter().map(shape).collect::<Vec<_>>()))
        }
        ("POST", []) => create(world, call),
        ("GET", [team]) => with_team(world, team, |team| Ok(web::json(StatusCode::OK, &shape(team)))),
        ("DELETE", [team]) => {
            with_team(world, team, |_| Ok(web::empty(StatusCode::NO_CONTENT)))?;
            let mut state = world.state();
            state.lasting.directory.teams.retain(|kept| kept.sid != *team);
            state.unsaved = true;
            Ok(web::empty(StatusCode::NO_CONTENT))
        }
        ("GET", [team, "Members"]) => {
            with_team(world, team, |team| Ok(listed(call, "members", &people(team, &team.members))))
        }
        ("GET", [team, "Owners"]) => {
            with_team(world, team, |team| Ok(listed(call, "owners", &people(team, &team.owners))))
        }
        ("POST", [team, kind @ ("Members" | "Owners")]) => add(world, call, team, kind),
        ("DELETE", [team, "Members", user]) => with_team(world, team, |team| {
            team.members.retain(|member| member != user);
            Ok(web::empty(StatusCode::NO_CONTENT))
        }),
        ("DELETE", [team, "Owners", user]) => with_team(world, team, |team| {
            team.owners.retain(|owner| owner != user);
            Ok(web::empty(StatusCode::NO_CONTENT))
        }),
        _ => Err(TwilioError::not_found(&call.path)),
    }
}

fn create(world: &World, call: &Call) -> Outcome {
    let form = call.form();
    let name = form.get("FriendlyName").filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| TwilioError::new(400, 20001, "Missing required parameter FriendlyName in the post body"))?;
    let mut state = world.state();
    let team = Team {
        sid: random::sid("QO"),
        friendly_name: name.to_owned(),
        description: form.get("Description").map(str::to_owned),
        created: state.now(),
        members: Vec::new(),
        owners: Vec::new(),
    };
    let shape = shape(&team);
    state.lasting.directory.teams.push(team);
    state.unsaved = true;
    Ok(web::json(StatusCode::CREATED, &shape))
}

fn add(world: &World, call: &Call, team: &str, kind: &str) -> Outcome {
    let form = call.form();
    let user = form.get("FlexUserSid").unwrap_or_default().to_owned();
    if world.state().lasting.directory.by_sid(&user).is_none() {
        return Err(TwilioError::not_found(&user));
    }
    with_team(world, team, |team| {
        let list = if kind == "Members" { &mut team.members } else { &mut team.owners };
        if !list.contains(&user) {
            list.push(user.clone());
        }
        Ok(web::json(StatusCode::CREATED, &person(team, &user)))
    })
}

fn with_team(world: &World, sid: &str, act: impl FnOnce(&mut Team) -> Outcome) -> Outcome {
    let mut state = world.state();
    let team = state.lasting.directory.teams.iter_mut().find(|team| team.sid == sid);
    let outcome = act(team.ok_or_else(|| TwilioError::not_found(sid))?);
    state.unsaved = true;
    outcome
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

fn people(team: &Team, sids: &[String]) -> Vec<Value> {
    sids.iter().map(|sid| person(team, sid)).collect()
}

fn person(team: &Team, sid: &str) -> Value {
    json!({ "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "flex_team_sid": team.sid, "flex_user_sid": sid })
}

fn shape(team: &Team) -> Value {
    json!({
        "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "flex_team_sid": team.sid,
        "friendly_name": team.friendly_name, "description": team.description,
        "date_created": clock::rfc3339(team.created), "date_updated": clock::rfc3339(team.created),
    })
}
