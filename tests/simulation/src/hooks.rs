//! Two identity systems that send webhooks. They repeat each delivery until they get a 2xx status, and deliver events
//! in any order. Each event contains the time of the change, so the order of delivery must not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use ring::hmac;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::model::{Says, Source};
use crate::process::Function;
use crate::world::{OKTA_SECRET, WEBHOOK_KEY, World};

/// The state of the identity systems, and the events that they have sent.
#[derive(Default)]
pub(crate) struct Systems(Mutex<Known>);

#[derive(Default)]
pub(crate) struct Known {
    last: Option<OffsetDateTime>,
    numbered: u32,
    okta: BTreeMap<String, Member>,
    hr: BTreeMap<String, Employee>,
    /// Deliveries that have not been accepted yet.
    under_way: u32,
}

/// A person at Okta.
#[derive(Default, Clone)]
struct Member {
    groups: BTreeSet<&'static str>,
    has_joined: bool,
    suspended: bool,
}

/// The record of a username in the second identity system, HR. The username can pass from one person to another.
#[derive(Clone)]
struct Employee {
    number: u32,
    active: bool,
    supervisor: bool,
    said: Vec<Says>,
}

impl Systems {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time and the id of the next event. No two events have the same time.
    fn next(&self, world: &World) -> (OffsetDateTime, String) {
        let mut known = self.known();
        let mut at = world.now();
        at = at.replace_millisecond(at.millisecond()).unwrap_or(at);
        if let Some(last) = known.last.filter(|last| *last >= at) {
            at = last + Duration::milliseconds(1);
        }
        known.last = Some(at);
        known.numbered += 1;
        (at, format!("event-{}", known.numbered))
    }

    /// Records in the model what the systems last said. `dead` contains the subjects (the ids of people) in dead
    /// letters, which are events that Flexgate has given up on. What the systems last said about these people is
    /// uncertain.
    pub(crate) fn conclude(&self, world: &World, dead: &BTreeSet<String>) {
        let known = self.known();
        let mut model = world.model();
        for (name, member) in &known.okta {
            let active = !member.suspended && !member.groups.is_empty();
            let person = model.person(name);
            if dead.contains(&format!("00u_{name}")) {
                let said = [true, false].map(|active| Says { active: Some(active), supervisor: None });
                person.cloud(Source::Okta, &said);
            } else if member.has_joined {
                person.settle(Source::Okta, Says { active: Some(active), supervisor: None });
            }
        }
        for (name, employee) in &known.hr {
            let says = Says { active: Some(employee.active), supervisor: Some(employee.supervisor) };
            if dead.iter().any(|subject| subject.starts_with(&format!("hr-{name}-"))) {
                model.person(name).cloud(Source::Hr, &employee.said);
            } else {
                model.person(name).settle(Source::Hr, says);
            }
        }
    }

    pub(crate) fn under_way(&self) -> u32 {
        self.known().under_way
    }
}

/// A change at Okta.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Okta {
    Joins(&'static str),
    Leaves(&'static str),
    Suspends,
    Unsuspends,
}

pub(crate) async fn okta(world: Arc<World>, systems: Arc<Systems>, name: String, change: Okta) {
    let kind = {
        let mut known = systems.known();
        let member = known.okta.entry(name.clone()).or_default();
        let changed = match change {
            Okta::Joins(group) => member.groups.insert(group),
            Okta::Leaves(group) => member.groups.remove(group),
            Okta::Suspends => !std::mem::replace(&mut member.suspended, true),
            Okta::Unsuspends => std::mem::replace(&mut member.suspended, false),
        };
        if !changed {
            return;
        }
        member.has_joined |= !member.groups.is_empty();
        match change {
            Okta::Joins(_) => "group.user_membership.add",
            Okta::Leaves(_) => "group.user_membership.remove",
            Okta::Suspends => "user.lifecycle.suspend",
            Okta::Unsuspends => "user.lifecycle.unsuspend",
        }
    };
    for active in [true, false] {
        world.model().person(&name).begin(Source::Okta, Says { active: Some(active), supervisor: None });
    }
    let (at, id) = systems.next(&world);
    let mut targets = vec![json!({ "id": format!("00u_{name}"), "type": "User", "login": name,
        "alternateId": format!("{name}@example.com"), "displayName": format!("{name} Example") })];
    if let Okta::Joins(group) | Okta::Leaves(group) = change {
        targets.push(json!({ "id": group, "type": "UserGroup", "displayName": group }));
    }
    let event = json!({ "uuid": id, "published": at.format(&Rfc3339).unwrap(), "eventType": kind,
        "outcome": { "result": "SUCCESS" }, "target": targets });
    let body = json!({ "eventType": "com.okta.event_hook", "data": { "events": [event] } });
    let what = format!("Okta: {name} {change:?} ({id})");
    deliver(&world, &systems, &what, &body, |body| {
        Request::post("/webhooks/okta")
            .header(AUTHORIZATION, OKTA_SECRET)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    })
    .await;
}

/// A change at HR.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hr {
    /// Hires the person, or changes the person's job.
    Job {
        supervisor: bool,
    },
    /// The e-mail address changes, and nothing else.
    Moves,
    Leaves,
    /// Another person gets the username of a person who has left.
    Successor,
}

pub(crate) async fn hr(world: Arc<World>, systems: Arc<Systems>, name: String, change: Hr) {
    let (event, employee) = {
        let mut known = systems.known();
        let employee = known.hr.get(&name).cloned();
        let (event, mut next) = match (change, employee) {
            (Hr::Job { supervisor }, None) => {
                ("hired", Employee { number: 1, active: true, supervisor, said: Vec::new() })
            }
            (Hr::Job { supervisor }, Some(employee)) => ("hired", Employee { active: true, supervisor, ..employee }),
            (Hr::Moves, Some(employee)) => ("changed", employee),
            (Hr::Leaves, Some(employee)) if employee.active => ("left", Employee { active: false, ..employee }),
            (Hr::Successor, Some(employee)) if !employee.active => {
                ("hired", Employee { number: employee.number + 1, active: true, supervisor: false, ..employee })
            }
            _ => return,
        };
        next.said.push(Says { active: Some(next.active), supervisor: Some(next.supervisor) });
        known.hr.insert(name.clone(), next.clone());
        (event, next)
    };
    for says in &employee.said {
        world.model().person(&name).begin(Source::Hr, *says);
    }
    let (at, id) = systems.next(&world);
    let mut who = json!({ "number": format!("hr-{name}-{}", employee.number), "login": name,
        "mail": format!("{name}.{id}@example.com"), "name": format!("{name} Example") });
    match change {
        Hr::Job { supervisor } => who["job"] = if supervisor { json!(["lead"]) } else { json!([]) },
        // Only the event for `Hr::Job` names the job, from which Flexgate derives the role. A successor's event names
        // no job. Flexgate must not give the successor the role of the username's previous owner.
        Hr::Successor | Hr::Moves | Hr::Leaves => {}
    }
    let body = json!({ "what": event, "when": at.format(&Rfc3339).unwrap(), "who": who });
    let what = format!("HR: {name} {change:?}, number {} ({id})", employee.number);
    let clock = world.clone();
    deliver(&world, &systems, &what, &body, |body| {
        let time = clock.now().unix_timestamp().to_string();
        let message = [id.as_bytes(), b".", time.as_bytes(), b".", body.as_bytes()].concat();
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_KEY), &message);
        Request::post("/webhooks/hr")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &time)
            .header("webhook-signature", format!("v1,{}", STANDARD.encode(signature)))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap()
    })
    .await;
}

async fn deliver(
    world: &Arc<World>,
    systems: &Systems,
    what: &str,
    body: &Value,
    make: impl Fn(&str) -> Request<Body>,
) {
    world.tell(what);
    systems.known().under_way += 1;
    let text = body.to_string();
    // Events at the same instant get times some milliseconds apart, so an event's time may be in the future. Flexgate
    // would replace a future time with the time of receipt, so wait until the event's time has passed.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    // Sometimes the first delivery is late, so that a later event overtakes it.
    if world.chance.thousandths(200) {
        tokio::time::sleep(std::time::Duration::from_secs(world.chance.below(120) as u64)).await;
    }
    // Sometimes the system delivers an accepted event again.
    let times = 1 + usize::from(world.chance.thousandths(100));
    for _ in 0..times {
        let done = world.insist(Function::Webhooks, what, async || make(&text)).await;
        if let Some(done) = done.filter(|done| done.reply.status != 202) {
            world.complain(format!("{what}: status {}", done.reply.status));
        }
    }
    systems.known().under_way -= 1;
}
