//! The SCIM client: a directory that repeats each change until Flexgate accepts it. It sends the changes to one user
//! one after another. It does the same for the changes to one group. A change to a user and a change to a group can
//! overlap.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::model::{Says, Source};
use crate::process::Function;
use crate::world::World;

#[derive(Default)]
pub(crate) struct Directory {
    /// The ids from Flexgate, by username or group name.
    ids: Mutex<BTreeMap<String, String>>,
    /// One lock for each user and each group.
    busy: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Directory {
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn learn(&self, name: &str, id: Option<&str>) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        match id {
            Some(id) => drop(ids.insert(name.to_owned(), id.to_owned())),
            None => drop(ids.remove(name)),
        }
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
    }
}

pub(crate) fn request(world: &World, method: &str, path: &str, body: &Value) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(format!("/scim/v2{path}"))
        .header(AUTHORIZATION, format!("Bearer {}", world.scim_token))
        .header(CONTENT_TYPE, "application/scim+json");
    request.body(if body.is_null() { Body::empty() } else { Body::from(body.to_string()) }).unwrap()
}

pub(crate) fn patch(operations: &Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

pub(crate) fn roles(supervisor: bool) -> Value {
    if supervisor { json!([{ "value": "supervisor" }]) } else { json!([]) }
}

/// Creates the user. If the user already exists, updates the existing user instead.
pub(crate) async fn create(world: Arc<World>, directory: Arc<Directory>, name: String, supervisor: bool) {
    let turn = directory.turn(&name);
    let _turn = turn.lock().await;
    if directory.id(&name).is_some() {
        return;
    }
    let says = Says { active: Some(true), supervisor: Some(supervisor) };
    let what = format!("SCIM creates {name}, supervisor: {supervisor}");
    world.tell(&what);
    let before = world.model().person(&name).begin(Source::Scim, says);
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "externalId": format!("x-{name}"),
        "displayName": format!("{name} Example"), "active": true,
        "emails": [{ "value": format!("{name}@example.com"), "primary": true }],
    });
    if supervisor {
        body["roles"] = roles(true);
    }
    let Some(done) = world.insist(Function::Provision, &what, async || request(&world, "POST", "/Users", &body)).await
    else {
        return;
    };
    let mut id = done.reply.body["id"].as_str().map(str::to_owned);
    if done.reply.status == 409 {
        // The user exists. Perhaps an earlier request created the user, and its answer was lost.
        let filter = format!("/Users?filter=userName%20eq%20%22{name}%22");
        let found =
            world.insist(Function::Provision, &what, async || request(&world, "GET", &filter, &Value::Null)).await;
        id = found.and_then(|found| found.reply.body["Resources"][0]["id"].as_str().map(str::to_owned));
        let Some(id) = &id else {
            world.tell(format!("{what}: refused"));
            if !done.repeated {
                world.model().person(&name).refuse(Source::Scim, before);
            }
            return;
        };
        let same = patch(&json!([
            { "op": "replace", "path": "active", "value": true },
            { "op": "replace", "path": "roles", "value": roles(supervisor) },
        ]));
        let path = format!("/Users/{id}");
        let again = world.insist(Function::Provision, &what, async || request(&world, "PATCH", &path, &same)).await;
        if again.is_none_or(|again| again.reply.status != 200) {
            return;
        }
    } else if done.reply.status != 201 {
        world.complain(format!("{what}: status {}", done.reply.status));
        return;
    }
    directory.learn(&name, id.as_deref());
    world.model().person(&name).settle(Source::Scim, says);
}

/// Changes a user that the client has created. Flexgate may refuse a deactivation only to protect the last
/// administrator, or because it cannot change this person's roles.
pub(crate) async fn change(
    world: Arc<World>,
    directory: Arc<Directory>,
    name: String,
    says: Says,
    email: Option<String>,
) {
    let turn = directory.turn(&name);
    let _turn = turn.lock().await;
    let Some(id) = directory.id(&name) else { return };
    let mut operations = Vec::new();
    if let Some(active) = says.active {
        operations.push(json!({ "op": "replace", "path": "active", "value": active }));
    }
    if let Some(supervisor) = says.supervisor {
        operations.push(json!({ "op": "replace", "path": "roles", "value": roles(supervisor) }));
    }
    if let Some(email) = &email {
        operations.push(json!({ "op": "replace", "path": "emails", "value": [{ "value": email, "primary": true }] }));
    }
    let what = format!("SCIM changes {name}: {}", briefly(says, email.as_deref()));
    world.tell(&what);
    let before = world.model().person(&name).begin(Source::Scim, says);
    let (path, body) = (format!("/Users/{id}"), patch(&json!(operations)));
    let Some(done) = world.insist(Function::Provision, &what, async || request(&world, "PATCH", &path, &body)).await
    else {
        return;
    };
    match done.reply.status {
        200 | 204 => world.model().person(&name).settle(Source::Scim, says),
        // This person has a role that Flexgate cannot give, so Flexgate cannot change the person's roles.
        400 if world.model().person(&name).has_wfo => {}
        409 if is_last_admin(&done.reply.body) => {}
        status if says.active == Some(false) => world.complain(format!("{what}: refused with {status}")),
        409 if !done.repeated => world.model().person(&name).refuse(Source::Scim, before),
        409 => {}
        status => world.complain(format!("{what}: refused with {status}: {}", done.reply.body["detail"])),
    }
}

/// Reads a user and writes the whole user back, as Okta does, with another display name and perhaps another value of
/// `active`. The client also sends back the roles that it read, which must not give the user any new role.
pub(crate) async fn replace(world: Arc<World>, directory: Arc<Directory>, name: String, active: bool, number: u32) {
    let turn = directory.turn(&name);
    let _turn = turn.lock().await;
    let Some(id) = directory.id(&name) else { return };
    let what = format!("SCIM replaces {name}, active: {active}");
    let path = format!("/Users/{id}");
    let Some(read) =
        world.insist(Function::Provision, &what, async || request(&world, "GET", &path, &Value::Null)).await
    else {
        return;
    };
    if read.reply.status != 200 {
        return world.complain(format!("{what}: reading answers {}", read.reply.status));
    }
    let mut body = read.reply.body;
    let says = Says { active: Some(active), supervisor: None };
    let is_news = body["active"] != active || !active;
    body["active"] = active.into();
    body["displayName"] = format!("{name} Example {number}").into();
    let before = if is_news { Some(world.model().person(&name).begin(Source::Scim, says)) } else { None };
    let Some(done) = world.insist(Function::Provision, &what, async || request(&world, "PUT", &path, &body)).await
    else {
        return;
    };
    match (done.reply.status, before) {
        (200, Some(_)) if !active => world.model().person(&name).settle(Source::Scim, says),
        // Leave the model uncertain. Perhaps another source has activated the person since the client read the user.
        // Then `active: true` changes nothing, and Flexgate records no statement about it.
        (200, _) => {}
        // This person has a role that Flexgate cannot give, so Flexgate cannot change the person's name.
        (400, _) if world.model().person(&name).has_wfo => {}
        (409, Some(before)) if active && !done.repeated => world.model().person(&name).refuse(Source::Scim, before),
        (409, _) if active => {}
        (status, _) => world.complain(format!("{what}: refused with {status}: {}", done.reply.body["detail"])),
    }
}

pub(crate) async fn delete(world: Arc<World>, directory: Arc<Directory>, name: String) {
    let turn = directory.turn(&name);
    let _turn = turn.lock().await;
    let Some(id) = directory.id(&name) else { return };
    let (what, says) = (format!("SCIM deletes {name}"), Says { active: Some(false), supervisor: Some(false) });
    world.tell(&what);
    world.model().person(&name).begin(Source::Scim, says);
    let path = format!("/Users/{id}");
    let send = async || request(&world, "DELETE", &path, &Value::Null);
    let Some(done) = world.insist(Function::Provision, &what, send).await else { return };
    match done.reply.status {
        204 => {}
        404 if done.repeated => {}
        409 if is_last_admin(&done.reply.body) => return,
        status => world.complain(format!("{what}: refused with {status}")),
    }
    directory.learn(&name, None);
    let mut model = world.model();
    let person = model.person(&name);
    person.settle(Source::Scim, says);
    person.leaves_all();
}

/// Adds people to a group or removes them from it. The first change creates the group.
pub(crate) async fn members(
    world: Arc<World>,
    directory: Arc<Directory>,
    group: &'static str,
    names: Vec<String>,
    joins: bool,
) {
    let turn = directory.turn(group);
    let _turn = turn.lock().await;
    let known: Vec<(String, String)> =
        names.into_iter().filter_map(|name| directory.id(&name).map(|id| (name, id))).collect();
    if known.is_empty() {
        return;
    }
    let listed: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let what = format!("SCIM {} {group}: {}", if joins { "adds to" } else { "removes from" }, listed.join(", "));
    world.tell(&what);
    let Some(id) = group_id(&world, &directory, group, &what).await else { return };
    for (name, _) in &known {
        world.model().person(name).may_join(group, joins);
    }
    let operations: Vec<Value> = if joins {
        let members: Vec<Value> = known.iter().map(|(_, id)| json!({ "value": id })).collect();
        vec![json!({ "op": "add", "path": "members", "value": members })]
    } else {
        let remove =
            |(_, id): &(String, String)| json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") });
        known.iter().map(remove).collect()
    };
    let (path, body) = (format!("/Groups/{id}"), patch(&json!(operations)));
    let Some(done) = world.insist(Function::Provision, &what, async || request(&world, "PATCH", &path, &body)).await
    else {
        return;
    };
    match done.reply.status {
        200 | 204 => {
            for (name, id) in &known {
                // If the client has deleted the user in the meantime, the group may or may not list the user.
                let possible: &[bool] = if directory.id(name).as_ref() == Some(id) { &[joins] } else { &[true, false] };
                world.model().person(name).member(group, possible);
            }
        }
        409 if is_last_admin(&done.reply.body) => {}
        // A member has been deleted in the meantime.
        400 | 404 => {}
        status => world.complain(format!("{what}: refused with {status}")),
    }
}

/// Whether Flexgate refused a change because it would leave Flex without an administrator.
fn is_last_admin(body: &Value) -> bool {
    body["detail"].as_str().is_some_and(|detail| detail.contains("administrator"))
}

/// Returns the group's id. Creates the group if the client has not done so yet.
async fn group_id(world: &Arc<World>, directory: &Directory, group: &str, what: &str) -> Option<String> {
    if let Some(id) = directory.id(group) {
        return Some(id);
    }
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": group });
    let send = async || request(world, "POST", "/Groups", &body);
    let made = world.insist(Function::Provision, what, send).await?;
    let mut id = made.reply.body["id"].as_str().map(str::to_owned);
    if made.reply.status == 409 {
        let filter = format!("/Groups?filter=displayName%20eq%20%22{group}%22");
        let send = async || request(world, "GET", &filter, &Value::Null);
        let found = world.insist(Function::Provision, what, send).await;
        id = found.and_then(|found| found.reply.body["Resources"][0]["id"].as_str().map(str::to_owned));
    }
    match &id {
        Some(id) => directory.learn(group, Some(id)),
        None => world.complain(format!("{what}: the group cannot be made")),
    }
    id
}

fn briefly(says: Says, email: Option<&str>) -> String {
    let active = says.active.map(|active| if active { "active" } else { "inactive" }.to_owned());
    let role = says.supervisor.map(|yes| if yes { "supervisor" } else { "no role" }.to_owned());
    let email = email.map(|_| "a new e-mail address".to_owned());
    [active, role, email].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
