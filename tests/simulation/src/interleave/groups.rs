//! Concurrent changes to a SCIM group. Afterwards, an added person must be a member, a removed person must not be a
//! member, and everybody's roles must match their membership.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Request;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::choices::Choices;
use super::stage::Stage;
use crate::hooks::Systems;
use crate::judge;
use crate::process::Function;
use crate::scim::{self, Directory};
use crate::world::World;

/// The group gives the supervisor's role.
const GROUP: &str = "Leads";

/// The other request, which runs while SCIM adds ada to the group. Bob is already a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    Removes,
    Renames,
    Deletes,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    Refused,
    Unknown,
}

fn fate(status: Option<u16>) -> Fate {
    match status {
        Some(200..300) => Fate::Accepted,
        Some(400..429) => Fate::Refused,
        _ => Fate::Unknown,
    }
}

pub(super) async fn play(world: &Arc<World>, choices: &mut Choices, other: Other) {
    let directory = Arc::new(Directory::default());
    for name in ["ada", "bob"] {
        scim::create(world.clone(), directory.clone(), name.to_owned(), false).await;
    }
    scim::members(world.clone(), directory.clone(), GROUP, vec!["bob".to_owned()], true).await;
    let (Some(ada), Some(bob), Some(group)) = (directory.id("ada"), directory.id("bob"), directory.id(GROUP)) else {
        return world.complain("the group cannot be prepared");
    };
    let path = format!("/Groups/{group}");
    let change = |operation: Value| scim::request(world, "PATCH", &path, &scim::patch(&json!([operation])));
    let adds = || change(json!({ "op": "add", "path": "members", "value": [{ "value": ada }] }));
    let changes = || match other {
        Other::Removes => change(json!({ "op": "remove", "path": format!("members[value eq \"{bob}\"]") })),
        Other::Renames => change(json!({ "op": "replace", "path": "displayName", "value": "Crew" })),
        Other::Deletes => scim::request(world, "DELETE", &path, &Value::Null),
    };
    world.model().person("ada").may_join(GROUP, true);
    world.model().person("bob").may_join(GROUP, false);

    let stage = Stage::of(world);
    let fates = Arc::new(Mutex::new([Fate::Unknown; 2]));
    let act = |number: usize, what: &'static str, request: Request<Body>| -> BoxFuture<'static, ()> {
        let (actor, fates) = (stage.actor(number, Function::Provision), fates.clone());
        async move {
            let reply = actor.send(what, request).await;
            fates.lock().await[number] = fate(reply.map(|reply| reply.status));
        }
        .boxed()
    };
    let other_act = act(1, "SCIM changes the group", changes());
    stage.play(choices, vec![act(0, "SCIM adds ada", adds()), other_act]).await;
    stage.rest().await;
    let mut fates = *fates.lock().await;
    if choices.faults() == 0 && fates.contains(&Fate::Refused) && other != Other::Deletes {
        world.complain("a request was refused");
    }
    learn(world, other, fates);
    check(world, &group, [&ada, &bob], false).await;

    // Repeat the requests that got no answer.
    if fates[0] == Fate::Unknown {
        let again = world.insist(Function::Provision, "SCIM adds ada again", async || adds()).await;
        fates[0] = fate(again.map(|again| again.reply.status));
    }
    if fates[1] == Fate::Unknown {
        let again = world.insist(Function::Provision, "SCIM changes the group again", async || changes()).await;
        fates[1] = match again.map(|again| again.reply.status) {
            // An earlier attempt has deleted the group.
            Some(404) if other == Other::Deletes => Fate::Accepted,
            status => fate(status),
        };
    }
    learn(world, other, fates);
    stage.rest().await;
    check(world, &group, [&ada, &bob], false).await;
    stage.sweep().await;
    check(world, &group, [&ada, &bob], true).await;
}

/// Tells the model what is certain.
fn learn(world: &World, other: Other, fates: [Fate; 2]) {
    let mut model = world.model();
    if fates[0] == Fate::Accepted {
        model.person("ada").member(GROUP, &[true]);
    }
    match (other, fates[1]) {
        (_, Fate::Refused) | (Other::Removes, Fate::Unknown) => {}
        (Other::Removes, Fate::Accepted) => model.person("bob").member(GROUP, &[false]),
        // Only the group's old name gives a role. So after a rename or a deletion, the group gives nobody a role.
        (_, Fate::Accepted) => {
            for name in ["ada", "bob"] {
                model.person(name).leaves_all();
            }
        }
        (_, Fate::Unknown) => {
            for name in ["ada", "bob"] {
                model.person(name).member(GROUP, &[true, false]);
            }
        }
    }
}

async fn check(world: &Arc<World>, group: &str, ids: [&str; 2], after_sweep: bool) {
    judge::people(world, &Systems::default(), &world.worker(), after_sweep).await;
    let path = format!("/Groups/{group}");
    let show = async || scim::request(world, "GET", &path, &Value::Null);
    let Some(shown) = world.insist(Function::Provision, "SCIM reads the group", show).await else { return };
    let members = shown.reply.body["members"].as_array().cloned().unwrap_or_default();
    let members: BTreeSet<&str> = members.iter().filter_map(|member| member["value"].as_str()).collect();
    if shown.reply.status != 200 || shown.reply.body["displayName"] != GROUP {
        return;
    }
    let mut model = world.model();
    for (name, id) in ["ada", "bob"].into_iter().zip(ids) {
        if model.person(name).is_member(GROUP).is_some_and(|is_member| is_member != members.contains(id)) {
            drop(model);
            return world.complain(format!(
                "{name} is a member in the answers to the requests, or in the group, but not in both"
            ));
        }
    }
}
