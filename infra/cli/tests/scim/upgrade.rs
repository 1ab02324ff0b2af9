//! Opens a database from a version that had no people ledger. Its data must become statements in the ledger.

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::{DesiredUser, Role};
use flexgate::platform::OwnerSettings;
use flexgate_test_support::World;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Scim, deliver};

const BEFORE: &str = include_str!("fixtures/before_the_ledger.sql");
const GROUP: &str = "/Groups/fggrp_202a35ee4776a5712a289e57739ebd6a";

/// The users in the old database: username, SID, roles, and whether the user is deactivated.
const USERS: [(&str, &str, &[Role], bool); 6] = [
    ("ada@example.com", "FU15e5d11d7ac7d981f8172d3c69ead9e4", &[Role::Agent, Role::Supervisor], false),
    ("linus@example.com", "FU9c2698f20735cf77bba5883137acd732", &[Role::Agent, Role::Supervisor], true),
    ("margaret@example.com", "FU50df3a2470dd52cd2560994f5cf11b84", &[Role::Agent], true),
    ("grace@example.com", "FU322bfa92f26014131e889acda40850ef", &[Role::Supervisor], false),
    ("barbara", "FU4a44511c2b4c5f7c8519554373283ee0", &[Role::Supervisor], false),
    ("carol", "FUc2d10168a2dffb60b5037c25d9918567", &[Role::Agent], true),
];

/// Replaces the SIDs in the old database with those of the simulator's users. Then starts a gateway with this database.
async fn upgraded() -> Scim {
    let world = World::start().await;
    let mut reader = world.reader();
    let settings = OwnerSettings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let flex = world.platform(&settings.common).flex(&settings.common, &settings.credential);
    let deadline = Deadline::after(std::time::Duration::from_secs(30));
    let mut sql = BEFORE.to_owned();
    for (name, sid, roles, deactivated) in USERS {
        let email = if name.contains('@') { name.to_owned() } else { format!("{name}@example.com") };
        let user = DesiredUser {
            username: name.parse().unwrap(),
            email: email.parse().unwrap(),
            full_name: "Some One".parse().unwrap(),
            roles: roles.iter().copied().collect(),
            worker_attributes: None,
        };
        let made = flex.provision(&user, deadline).await.unwrap();
        if deactivated {
            flex.deprovision(&made.flex_user_sid, deadline).await.unwrap();
        }
        sql = sql.replace(sid, made.flex_user_sid.as_str());
    }
    // `world.platform` has created an empty database. Delete it, so that the old database can take its place.
    drop(flex);
    for suffix in ["", "-wal", "-shm"] {
        let _may_be_absent = std::fs::remove_file(format!("{}{suffix}", world.store_path().display()));
    }
    rusqlite::Connection::open(world.store_path()).unwrap().execute_batch(&sql).unwrap();
    Scim::over(world)
}

impl Scim {
    async fn flex_user(&self, name: &str) -> Value {
        self.users().await.into_values().find(|user| user["username"] == name).unwrap()
    }

    async fn roles(&self, name: &str) -> Value {
        self.flex_user(name).await["roles"].clone()
    }

    async fn path(&self, name: &str) -> String {
        format!("/Users/{}", self.flex_user(name).await["flex_user_sid"].as_str().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_before_takes_its_role_along_and_leaves_what_is_the_users_own() {
    let scim = upgraded().await;
    let shown = scim.client.ask(Method::GET, GROUP, Value::Null).await;
    assert_eq!(shown["members"].as_array().unwrap().len(), 3);
    scim.client.patch(GROUP, json!({ "op": "remove", "path": "members" })).await;
    assert_eq!(scim.roles("ada@example.com").await, json!(["agent"]));
    assert_eq!(scim.roles("grace@example.com").await, json!(["supervisor"]));
    // Linus left the group while he was inactive. Once active again, he gets his new name but not the group's role.
    let linus = scim.path("linus@example.com").await;
    scim.client.patch(&linus, json!({ "op": "replace", "path": "active", "value": true })).await;
    let linus = scim.flex_user("linus@example.com").await;
    assert_eq!((&linus["roles"], &linus["full_name"]), (&json!(["agent"]), &json!("Linus Renamed")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_scim_said_before_holds_against_what_others_say_now() {
    let scim = upgraded().await;
    let event = |name: &str, roles: &[&str], at: i64| {
        json!({ "type": "user.updated", "data": { "id": name, "username": name, "email": name,
                "full_name": "From Hr", "roles": roles, "updated_at": at } })
    };
    let now = ClockRng::system().now().unix_timestamp() * 1000;
    // According to SCIM, Grace has a role and Margaret is deleted. Events from another source must change neither.
    deliver(&scim.client, "e1", &event("grace@example.com", &["agent"], now)).await;
    deliver(&scim.client, "e2", &event("margaret@example.com", &["agent"], now)).await;
    scim.wait_until_at_most(0).await;
    assert_eq!(scim.roles("grace@example.com").await, json!(["agent", "supervisor"]));
    assert_eq!(scim.flex_user("margaret@example.com").await["deactivated"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_before_are_not_applied_again_and_the_next_ones_go_on_from_them() {
    let scim = upgraded().await;
    let event = |id: &str, name: &str, roles: &[&str], at: i64| {
        json!({ "type": "user.updated", "data": { "id": id, "username": name, "email": format!("{name}@example.com"),
                "full_name": "New Name", "roles": roles, "updated_at": at } })
    };
    // This event is older than event m3, with which the same source deprovisioned Carol. So Flexgate ignores it.
    deliver(&scim.client, "late", &event("hr-2", "carol", &["supervisor"], 1_795_695_300_000)).await;
    // This event is newer than event m1, which gave Barbara her role. So this event changes her role.
    let now = ClockRng::system().now().unix_timestamp() * 1000;
    deliver(&scim.client, "next", &event("hr-1", "barbara", &["agent"], now)).await;
    scim.wait_until_at_most(0).await;
    assert_eq!(scim.flex_user("carol").await["deactivated"], true);
    let barbara = scim.flex_user("barbara").await;
    assert_eq!((&barbara["roles"], &barbara["full_name"]), (&json!(["agent"]), &json!("New Name")));
}
