//! The background work of a deployment: the queue's consumer and the sweeps. This module also makes the changes that an
//! administrator makes in Twilio's Console.

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::outbound::Deadline;
use flexgate::store::{EventStatus, Lane, Settled, Taken};
use flexgate_apply::{EVENT_TIME, Handled};
use http::Method;
use serde_json::{Value, json};
use time::Duration as Span;

use crate::process::Worker;
use crate::world::World;

/// How long a message in progress stays hidden from other consumers, like SQS's visibility timeout.
const HIDDEN: Span = Span::seconds(30);

/// Applies messages, as SQS and its consumers do, until `until` returns true. Applies the messages about one person one
/// after another. If a consumer dies, the next consumer gets its messages.
pub(crate) async fn consume(world: Arc<World>, until: impl Fn() -> bool) {
    let mut worker = Arc::new(world.worker());
    while !until() {
        let now = world.now();
        let lane = if world.chance.half() { Lane::Events } else { Lane::Bulk };
        let taken = worker.inbox.take(lane, 4, now, now + HIDDEN).await.unwrap_or_default();
        if !taken.is_empty() && world.chance.thousandths(world.weather.now().dies) {
            worker.life.doom(1 + i64::try_from(world.chance.below(60)).unwrap_or_default());
        }
        {
            let _busy = world.busy();
            let work = futures(&world, &worker, taken);
            tokio::select! {
                biased;
                () = worker.life.end() => {
                    world.tell("a consumer dies");
                    worker = Arc::new(world.worker());
                }
                () = work => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(200 + world.chance.below(800) as u64)).await;
    }
}

async fn futures(world: &Arc<World>, worker: &Arc<Worker>, taken: Vec<Taken>) {
    let mut running = tokio::task::JoinSet::new();
    for message in taken {
        running.spawn(handle(world.clone(), worker.clone(), message));
    }
    while running.join_next().await.is_some() {}
}

async fn handle(world: Arc<World>, worker: Arc<Worker>, message: Taken) {
    let handled = worker.apply.handle(&message.body, message.attempts, Deadline::after(EVENT_TIME)).await;
    let now = world.now();
    let (settled, how) = match handled {
        Handled::Done => (Settled::Applied, "applied".to_owned()),
        Handled::Again => {
            let pause = Span::seconds(1 + i64::from(message.attempts.min(30)));
            (Settled::Later(now + pause), "tried again later".to_owned())
        }
        Handled::Dead(reason) => (Settled::Dead(reason.clone()), format!("a dead letter: {reason}")),
    };
    world.tell(format!("message {} is {how}", message.seq));
    // Sometimes leave a finished message in the queue, so that the queue delivers it again, as SQS may.
    if settled == Settled::Applied && world.weather.now().dies > 0 && world.chance.thousandths(30) {
        return;
    }
    drop(worker.inbox.settle(&message, settled, now).await);
}

/// The number of waiting messages.
pub(crate) async fn waiting(worker: &Worker) -> u64 {
    worker.inbox.count(EventStatus::Waiting).await.unwrap_or(u64::MAX)
}

pub(crate) async fn sweep(world: Arc<World>) {
    let _busy = world.busy();
    let worker = world.worker();
    if world.chance.thousandths(world.weather.now().dies) {
        worker.life.doom(1 + i64::try_from(world.chance.below(60)).unwrap_or_default());
    }
    let swept = tokio::select! {
        biased;
        () = worker.life.end() => "dies on the way".to_owned(),
        swept = worker.sweep.sweep(Deadline::after(Duration::from_mins(5))) => match swept {
            Ok(found) => format!("queues {}, drifted {}", found["queued"], found["drifted"]),
            Err(_) => "fails".to_owned(),
        },
    };
    world.tell(format!("the sweep {swept}"));
}

/// Gives a user the supervisor's role directly in Twilio, without a request through Flexgate. An administrator can do
/// this in the Console.
pub(crate) async fn promote_by_hand(world: Arc<World>, name: String) {
    let Some(user) = world.flex_user(&name).await.filter(|user| user["deactivated"] == false) else { return };
    world.tell(format!("the Console makes {name} a supervisor"));
    {
        let mut model = world.model();
        let person = model.person(&name);
        (person.by_hand, person.keeps_wfo) = (true, false);
    }
    let wanted = json!({ "username": name, "email": user["email"], "full_name": user["full_name"],
        "roles": ["agent", "supervisor"], "worker": {} });
    world.ask(Method::POST, &users("/Provision"), &wanted).await;
}

/// Deactivates a user directly in Twilio, without a request through Flexgate. An administrator can do this in the
/// Console.
pub(crate) async fn deactivate_by_hand(world: Arc<World>, name: String) {
    let Some(user) = world.flex_user(&name).await.filter(|user| user["deactivated"] == false) else { return };
    world.tell(format!("the Console deactivates {name}"));
    {
        let mut model = world.model();
        let person = model.person(&name);
        (person.disturbed, person.keeps_wfo) = (true, false);
    }
    let sid: &Value = &user["flex_user_sid"];
    world.ask(Method::POST, &users("/Deprovision"), &json!({ "flex_user_sid": sid })).await;
}

/// Activates a deactivated user directly in Twilio, without a request through Flexgate. An administrator can do this in
/// the Console. Twilio's SSO may also do this when the person signs in.
pub(crate) async fn activate_by_hand(world: Arc<World>, name: String) {
    let Some(user) = world.flex_user(&name).await.filter(|user| user["deactivated"] == true) else { return };
    world.tell(format!("the Console activates {name}"));
    {
        let mut model = world.model();
        let person = model.person(&name);
        (person.disturbed, person.keeps_wfo) = (true, false);
    }
    let wanted = json!({ "username": name, "email": user["email"], "full_name": user["full_name"],
        "roles": ["agent"], "worker": {} });
    world.ask(Method::POST, &users("/Provision"), &wanted).await;
}

/// Creates a user with a role that only other Twilio products can give.
pub(crate) async fn seed_wfo(world: &World, prefix: &str) -> String {
    let wanted = json!({ "count": 1, "prefix": prefix, "roles": ["agent", "wfo.full_access"] });
    world.ask(Method::POST, "/__sim/users", &wanted).await;
    format!("{prefix}000000")
}

fn users(rest: &str) -> String {
    format!("/flex-api/v4/Instances/{}/Users{rest}", flexgate_simulator::INSTANCE_SID)
}
