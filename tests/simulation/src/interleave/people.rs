//! A service and SCIM change one person at the same time. Each of them needs the lease on the person, because only the
//! holder of the lease may change the person.

use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request};
use serde_json::{Value, json};
use time::Duration;
use tokio::sync::Mutex;

use super::choices::Choices;
use super::stage::Stage;
use crate::callers::{service, wanted, with_token};
use crate::hooks::Systems;
use crate::judge;
use crate::model::{Says, Source};
use crate::process::Function;
use crate::scim::{self, Directory};
use crate::world::World;

const NAME: &str = "ada";
const NEW_EMAIL: &str = "ada.new@example.com";

/// The maximum time for repeating the changes. Within this time, the leases of dead processes expire.
const BUSY_AT_MOST: Duration = Duration::seconds(30);

/// A change to the person. The source repeats the request until it gets an answer.
struct Change {
    what: &'static str,
    source: Source,
    says: Says,
    request: Box<dyn Fn() -> Request<Body> + Send + Sync>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    Refused,
    Unknown,
}

pub(super) async fn play(world: &Arc<World>, choices: &mut Choices, deactivates: bool) {
    let directory = Arc::new(Directory::default());
    scim::create(world.clone(), directory.clone(), NAME.to_owned(), false).await;
    let Some(id) = directory.id(NAME) else { return };
    let path = format!("/Users/{id}");
    let operation = if deactivates {
        json!([{ "op": "replace", "path": "active", "value": false }])
    } else {
        json!([{ "op": "replace", "path": "emails", "value": [{ "value": NEW_EMAIL, "primary": true }] }])
    };
    let token = with_token(world, &service(), Method::POST, "/users", &Value::Null).await;
    let (headers, scim_world) = (token.headers().clone(), world.clone());
    let promotes = Change {
        what: "POST /users makes ada a supervisor",
        source: Source::Api,
        says: Says { active: Some(true), supervisor: Some(true) },
        request: Box::new(move || {
            let mut request = Request::post("/users").body(Body::from(wanted(NAME, true).to_string())).unwrap();
            request.headers_mut().clone_from(&headers);
            request
        }),
    };
    let changes = Change {
        what: if deactivates { "SCIM deactivates ada" } else { "SCIM changes ada's address" },
        source: Source::Scim,
        says: Says { active: deactivates.then_some(false), supervisor: None },
        request: Box::new(move || scim::request(&scim_world, "PATCH", &path, &scim::patch(&operation))),
    };
    let both = [Arc::new(promotes), Arc::new(changes)];

    let stage = Stage::of(world);
    let fates = Arc::new(Mutex::new([Fate::Unknown; 2]));
    let act = |(number, change): (usize, &Arc<Change>)| -> BoxFuture<'static, ()> {
        let (actor, change) = (stage.actor(number, Function::Provision), change.clone());
        let (world, fates) = (world.clone(), fates.clone());
        let before = world.model().person(NAME).begin(change.source, change.says);
        async move {
            let reply = actor.send(change.what, (change.request)()).await;
            let fate = match reply.map(|reply| reply.status) {
                Some(200..300) => Fate::Accepted,
                Some(400..429) => Fate::Refused,
                _ => Fate::Unknown,
            };
            match fate {
                Fate::Accepted => world.model().person(NAME).settle(change.source, change.says),
                Fate::Refused => world.model().person(NAME).refuse(change.source, before),
                Fate::Unknown => {}
            }
            if fate == Fate::Refused && (!deactivates || change.source == Source::Scim) {
                world.complain(format!("{}: refused", change.what));
            }
            fates.lock().await[number] = fate;
        }
        .boxed()
    };
    stage.play(choices, both.iter().enumerate().map(act).collect()).await;
    stage.rest().await;
    let mut fates = *fates.lock().await;
    check(world, fates[1] == Fate::Accepted && !deactivates, false).await;

    // Repeat the changes that got no answer. This must work even if a process died while it held the person's lease.
    let began = world.now();
    for (fate, change) in fates.iter_mut().zip(&both).filter(|(fate, _)| **fate == Fate::Unknown) {
        let Some(done) = world.insist(Function::Provision, change.what, async || (change.request)()).await else {
            return;
        };
        if done.reply.status < 300 {
            *fate = Fate::Accepted;
            world.model().person(NAME).settle(change.source, change.says);
        }
    }
    if world.now() - began > BUSY_AT_MOST {
        world.complain("a dead process still has the lease");
    }
    stage.rest().await;
    check(world, fates[1] == Fate::Accepted && !deactivates, false).await;
    stage.sweep().await;
    check(world, fates[1] == Fate::Accepted && !deactivates, true).await;
}

/// A service makes somebody a supervisor. Then it takes the role back, perhaps while the first request is still in
/// progress.
pub(super) async fn play_promotion_taken_back(world: &Arc<World>, choices: &mut Choices) {
    scim::create(world.clone(), Arc::default(), NAME.to_owned(), false).await;
    let token = with_token(world, &service(), Method::POST, "/users", &Value::Null).await;
    let request = |supervisor: bool| {
        let mut request = Request::post("/users").body(Body::from(wanted(NAME, supervisor).to_string())).unwrap();
        request.headers_mut().clone_from(token.headers());
        request
    };
    let says = |supervisor: bool| Says { active: Some(true), supervisor: Some(supervisor) };
    world.model().person(NAME).begin(Source::Api, says(true));
    world.model().person(NAME).begin(Source::Api, says(false));

    let stage = Stage::of(world);
    let actors = [stage.actor(0, Function::Provision), stage.actor(1, Function::Provision)];
    let requests = [request(true), request(false)];
    let is_done = Arc::new(Mutex::new(false));
    let done = is_done.clone();
    let both = async move {
        let ([first, second], [promotes, takes_back]) = (actors, requests);
        first.send("POST /users makes ada a supervisor", promotes).await;
        let reply = second.send("POST /users makes ada an agent", takes_back).await;
        *done.lock().await = reply.is_some_and(|reply| reply.status < 300);
    };
    stage.play(choices, vec![both.boxed()]).await;
    if !*is_done.lock().await {
        let what = "POST /users makes ada an agent, again";
        let again = world.insist(Function::Provision, what, async || request(false)).await;
        if again.is_none_or(|again| again.reply.status >= 300) {
            return world.complain(format!("{what}: refused"));
        }
    }
    world.model().person(NAME).settle(Source::Api, says(false));
    stage.rest().await;
    check(world, false, false).await;
    stage.sweep().await;
    check(world, false, true).await;
}

async fn check(world: &Arc<World>, has_new_email: bool, after_sweep: bool) {
    judge::people(world, &Systems::default(), &world.worker(), after_sweep).await;
    let user = world.flex_user(NAME).await.unwrap_or_default();
    if has_new_email && user["email"] != NEW_EMAIL {
        world.complain(format!("the new address is not in Flex (after a sweep: {after_sweep})"));
    }
}
