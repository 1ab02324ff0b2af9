//! The checks for a world in which nothing is in progress: what must be true of Flex, the store and the log.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::hooks::Systems;
use crate::log::Log;
use crate::process::Worker;
use crate::script::BOSSES;
use crate::upkeep;
use crate::world::World;

pub(crate) async fn at_rest(world: &World, systems: &Systems, queue: &Worker, log: &Log) {
    if upkeep::waiting(queue).await > 0 {
        world.complain("messages are still waiting");
    }
    if systems.under_way() > 0 {
        world.complain("a delivery was never accepted");
    }
    let texts = world.database.texts().unwrap_or_default();
    people(world, systems, queue, true).await;
    sealed(world, &texts, log);
}

/// Returns the subjects (the ids of people) in dead letters. Complains about a dead letter without a reason.
fn subjects_of_dead_letters(letters: &[flexgate::store::DeadLetter], world: &World) -> BTreeSet<String> {
    let mut subjects = BTreeSet::new();
    for letter in letters {
        if letter.reason.is_empty() {
            world.complain(format!("a dead letter has no reason: {}", letter.event_id));
        }
        let body: Value = serde_json::from_str(&letter.body).unwrap_or_default();
        collect_subjects(&body, &mut subjects);
    }
    subjects
}

fn collect_subjects(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with("hr-") || text.starts_with("00u_") => drop(into.insert(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| collect_subjects(value, into)),
        Value::Object(members) => members.values().for_each(|value| collect_subjects(value, into)),
        _ => {}
    }
}

/// Checks all people. Before the first sweep (`after_sweeps` is false), leaves out people whose Flex user was changed
/// without Flexgate.
pub(crate) async fn people(world: &World, systems: &Systems, queue: &Worker, after_sweeps: bool) {
    systems.conclude(world, &subjects_of_dead_letters(&queue.dead_letters().await, world));
    let mut users: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for user in world.flex_users().await {
        let name = user["username"].as_str().unwrap_or_default().to_owned();
        users.entry(name).or_default().push(user);
    }
    let model = world.model();
    let mut wrong = Vec::new();
    for (name, person) in model.people.iter().filter(|(_, person)| after_sweeps || !person.is_touched()) {
        let active = users.get(name).into_iter().flatten().find(|user| user["deactivated"] == false);
        let roles: Vec<&str> = active
            .and_then(|user| user["roles"].as_array())
            .map(|roles| roles.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let is_boss = BOSSES.contains(&name.as_str());
        let role = if is_boss { "admin" } else { "supervisor" };
        let has_role = roles.contains(&role);
        if active.is_some() && person.must_be_inactive() {
            wrong.push(format!("{name} is active in Flex, although a source says inactive"));
        }
        if active.is_none() && person.must_be_active() {
            wrong.push(format!("{name} is not active in Flex, although every source says active"));
        }
        // Leave out administrators here, because the last administrator keeps the role `admin` whatever the sources
        // say.
        if has_role && !is_boss && !person.may_be_supervisor() {
            wrong.push(format!("{name} is a supervisor, and nobody says so"));
        }
        if active.is_some() && !has_role && person.must_be_supervisor() {
            wrong.push(format!("{name} lacks the role {role}, although a source says so"));
        }
        if active.is_some() && person.keeps_wfo && !roles.contains(&"wfo.full_access") {
            wrong.push(format!("{name} has lost the role wfo.full_access"));
        }
        if roles.contains(&"admin") && !is_boss {
            wrong.push(format!("{name} is an administrator"));
        }
    }
    drop(model);
    for what in wrong {
        world.complain(if after_sweeps { what } else { format!("before the first sweep, {what}") });
    }
}

/// Checks that Flex always has an active administrator once it has had one.
pub(crate) async fn administrators(world: &World, established: &mut bool) {
    let users = world.flex_users().await;
    let is_admin = |user: &&Value| {
        user["deactivated"] == false && user["roles"].as_array().is_some_and(|roles| roles.contains(&"admin".into()))
    };
    let is_left = users.iter().any(|user| is_admin(&user));
    if *established && !is_left {
        world.complain("Flex has no administrator any more");
    }
    *established = is_left;
}

/// Checks that neither the store nor the log contains a token, a code or a verifier as plain text.
fn sealed(world: &World, texts: &[String], log: &Log) {
    let secrets = std::mem::take(&mut world.spy.seen().secrets);
    let logged = log.text();
    for secret in secrets.iter().filter(|secret| secret.len() >= 16) {
        // Compare only the end of a secret, because the beginnings of tokens can be equal.
        let part = &secret[secret.len() - 16..];
        if texts.iter().any(|text| text.contains(part)) {
            world.complain("the store contains a secret in the clear");
        }
        if logged.contains(part) {
            world.complain("the log contains a secret");
        }
    }
    if logged.contains("@example.com") {
        world.complain("the log contains an e-mail address");
    }
}
