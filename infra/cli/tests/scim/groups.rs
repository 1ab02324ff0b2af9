//! Tests changes of large groups while the gateway is killed and restarted (case R52), and overlapping changes (case
//! R41).

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::Scim;

fn members(users: &BTreeMap<String, Value>) -> Value {
    users.keys().map(|sid| json!({ "value": sid })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_a_group_of_five_thousand_is_answered_at_once_and_followed_through_kills() {
    const MEMBERS: u64 = 5_000;
    let mut scim = Scim::start().await;
    scim.world.ask(Method::POST, "/__sim/users", &json!({ "count": MEMBERS })).await;
    let (group, users) = (scim.group("Leads").await, scim.users().await);
    let began = Instant::now();
    let shown = scim.client.patch(&group, json!({ "op": "add", "path": "members", "value": members(&users) })).await;
    eprintln!("a PATCH that adds {MEMBERS} members is answered after {:?}", began.elapsed());
    assert_eq!(shown["members"].as_array().unwrap().len() as u64, MEMBERS);
    for kill in 1..=3 {
        scim.wait_until_at_most(MEMBERS * (4 - kill) / 4).await;
        scim.kill();
    }
    scim.wait_until_at_most(0).await;
    eprintln!("and {MEMBERS} members have the role after {:?}", began.elapsed());
    assert_eq!(scim.dead().await, 0);
    let without = scim.users().await.values().filter(|user| user["roles"] != json!(["agent", "supervisor"])).count();
    assert_eq!(without, 0, "members without the role");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_a_group_that_is_emptied_takes_every_role_back() {
    let mut scim = Scim::start().await;
    scim.world.ask(Method::POST, "/__sim/users", &json!({ "count": 300 })).await;
    let (group, users) = (scim.group("Leads").await, scim.users().await);
    scim.client.patch(&group, json!({ "op": "add", "path": "members", "value": members(&users) })).await;
    // The client removes half of the members while jobs still give the group's role to other members. Then the gateway
    // is killed, and the client deletes the group.
    let half = users.iter().take(150).map(|(sid, user)| (sid.clone(), user.clone())).collect();
    scim.client.patch(&group, json!({ "op": "remove", "path": "members", "value": members(&half) })).await;
    scim.kill();
    scim.client.ask(Method::DELETE, &group, Value::Null).await;
    scim.wait_until_at_most(0).await;
    assert_eq!(scim.dead().await, 0);
    let with = scim.users().await.values().filter(|user| user["roles"] != json!(["agent"])).count();
    assert_eq!(with, 0, "users with a role that nobody gives them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r41_changes_of_users_and_of_their_group_that_cross_end_the_same_in_every_order() {
    const PAIRS: usize = 40;
    const RUNS: usize = 20;
    let scim = Scim::start().await;
    scim.world.ask(Method::POST, "/__sim/users", &json!({ "count": PAIRS })).await;
    let (group, users) = (scim.group("Leads").await, scim.users().await);
    for run in 0..RUNS {
        let joins = run % 2 == 0;
        let mut pairs = JoinSet::new();
        for sid in users.keys() {
            let (client, group, sid) = (scim.client.clone(), group.clone(), sid.clone());
            pairs.spawn(async move {
                let (user, name) = (format!("/Users/{sid}"), format!("Name {run}"));
                let renamed = json!({ "op": "replace", "path": "displayName", "value": name });
                let membership = if joins {
                    json!({ "op": "add", "path": "members", "value": [{ "value": sid }] })
                } else {
                    json!({ "op": "remove", "path": format!("members[value eq \"{sid}\"]") })
                };
                tokio::join!(client.patch(&user, renamed), client.patch(&group, membership))
            });
        }
        pairs.join_all().await;
        scim.wait_until_at_most(0).await;
        let roles = if joins { json!(["agent", "supervisor"]) } else { json!(["agent"]) };
        for (sid, user) in scim.users().await {
            assert_eq!((&user["roles"], &user["full_name"]), (&roles, &json!(format!("Name {run}"))), "{run}: {sid}");
        }
    }
    assert_eq!(scim.dead().await, 0);
}
