//! Tests concurrent requests for one username. At most one active Flex user may have the username, and the username
//! must not become unusable.

use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Request;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::choices::Choices;
use super::stage::Stage;
use crate::process::{Function, Reply};
use crate::scim::{self, Directory};
use crate::world::World;

fn create(world: &World, name: &str, external_id: &str) -> Request<Body> {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "externalId": external_id,
        "displayName": "Bob Example", "active": true, "emails": [{ "value": "bob@example.com", "primary": true }],
    });
    scim::request(world, "POST", "/Users", &body)
}

type Replies = Arc<Mutex<Vec<Option<Reply>>>>;

/// Runs these requests, each in a separate process. Returns the answers in the order of the requests.
async fn send(
    world: &Arc<World>,
    choices: &mut Choices,
    requests: Vec<(&'static str, Request<Body>)>,
) -> Vec<Option<Reply>> {
    let stage = Stage::of(world);
    let replies: Replies = Arc::new(Mutex::new((0..requests.len()).map(|_| None).collect()));
    let act = |(number, (what, request)): (usize, (&'static str, Request<Body>))| -> BoxFuture<'static, ()> {
        let (actor, replies) = (stage.actor(number, Function::Provision), replies.clone());
        async move {
            let reply = actor.send(what, request).await;
            replies.lock().await[number] = reply;
        }
        .boxed()
    };
    stage.play(choices, requests.into_iter().enumerate().map(act).collect()).await;
    stage.rest().await;
    std::mem::take(&mut *replies.lock().await)
}

fn status(reply: Option<&Reply>) -> u16 {
    reply.map_or(0, |reply| reply.status)
}

pub(super) async fn created_twice(world: &Arc<World>, choices: &mut Choices) {
    let directory = Arc::new(Directory::default());
    scim::create(world.clone(), directory.clone(), "cleo".to_owned(), false).await;
    let Some(cleo) = directory.id("cleo") else { return };
    let rename = scim::patch(&json!([{ "op": "replace", "path": "userName", "value": "bob" }]));
    let requests = vec![
        ("SCIM creates bob", create(world, "bob", "x-1")),
        ("SCIM creates Bob", create(world, "Bob", "x-2")),
        ("SCIM renames cleo to bob", scim::request(world, "PATCH", &format!("/Users/{cleo}"), &rename)),
    ];
    let replies = send(world, choices, requests).await;
    let created = replies[..2].iter().filter(|reply| status(reply.as_ref()) == 201).count();
    if created > 1 || created == 0 && choices.faults() == 0 {
        world.complain(format!("{created} of two requests for one username created a user"));
    }
    if status(replies[2].as_ref()) < 300 && replies[2].is_some() {
        world.complain("a username was changed");
    }
    let id = replies[..2].iter().flatten().find_map(|reply| reply.body["id"].as_str()).map(str::to_owned);
    settle(world, "bob", id.as_deref()).await;
}

pub(super) async fn deleted_and_created(world: &Arc<World>, choices: &mut Choices) {
    let made = world.insist(Function::Provision, "SCIM creates bob", async || create(world, "bob", "x-1")).await;
    let id = made.and_then(|made| made.reply.body["id"].as_str().map(str::to_owned)).unwrap_or_default();
    let requests = vec![
        ("SCIM deletes bob", scim::request(world, "DELETE", &format!("/Users/{id}"), &Value::Null)),
        ("SCIM creates bob", create(world, "bob", "x-1")),
    ];
    let replies = send(world, choices, requests).await;
    let statuses = (status(replies[0].as_ref()), status(replies[1].as_ref()));
    if choices.faults() == 0 && !matches!(statuses, (204, 201 | 409 | 503)) {
        world.complain(format!("the statuses are {statuses:?}"));
    }
    let is_active = active(world, "bob").await == 1;
    match statuses {
        (204, 201) if !is_active => world.complain("the user who was created is not active"),
        (204, 400..500) if is_active => world.complain("the user who was deleted is active"),
        _ => {}
    }
    settle(world, "bob", None).await;
}

/// The number of active Flex users with this username, in upper, lower or mixed case.
async fn active(world: &World, name: &str) -> usize {
    let users = world.flex_users().await;
    let named =
        users.iter().filter(|user| user["username"].as_str().is_some_and(|seen| seen.eq_ignore_ascii_case(name)));
    named.filter(|user| user["deactivated"] == false).count()
}

/// Checks that at most one active user has this username. Then creates a user with this username through SCIM, repeats
/// the request until Flexgate gives a definite answer, and checks the result. If an earlier request has already created
/// the user, `id` is the user's id.
async fn settle(world: &Arc<World>, name: &str, id: Option<&str>) {
    if active(world, name).await > 1 {
        world.complain("two active users have one username");
    }
    let what = "afterwards, SCIM creates the user";
    let Some(created) = world.insist(Function::Provision, what, async || create(world, name, "x-1")).await else {
        return;
    };
    let filter = format!("/Users?filter=userName%20eq%20%22{name}%22");
    let what = "afterwards, SCIM looks for the user";
    let look = async || scim::request(world, "GET", &filter, &Value::Null);
    let Some(found) = world.insist(Function::Provision, what, look).await else { return };
    let resources = found.reply.body["Resources"].as_array().cloned().unwrap_or_default();
    match (created.reply.status, resources.as_slice()) {
        (201 | 409, [user]) => {
            if id.is_some_and(|id| user["id"] != id) {
                world.complain("the username has passed to somebody else");
            }
            if user["externalId"].is_null() {
                world.complain("the user does not have the client's own key");
            }
            if user["active"] == true && active(world, name).await != 1 {
                world.complain("the user is not active in Flex");
            }
        }
        (status, found) => world.complain(format!("the username is lost: {status}, {} found", found.len())),
    }
}
