//! C16: Twilio and the directory cannot be written atomically. Whatever fails in between, a retry reaches the same
//! state.

use serde_json::{Value, json};

use crate::common::{World, world};

async fn twilio_fails(world: &World, path: &str, kind: &str) {
    world
        .fault(json!({ "service": "flex-api", "method": "POST", "path_contains": path, "kind": kind,
            "status": 503, "body": {}, "times": "always" }))
        .await;
}

fn ada() -> Value {
    json!({ "userName": "ada", "externalId": "x-1", "emails": ["ada@example.com"], "name": { "givenName": "Ada", "familyName": "L" } })
}

#[tokio::test]
async fn c16_a_create_that_fails_at_twilio_is_finished_by_its_retry() {
    let world = world().await;
    for kind in ["status", "lost_response"] {
        twilio_fails(&world, "Provision", kind).await;
        world.send("POST", "/Users", ada()).await.refused(503, "-");
        world.no_faults().await;
    }
    // Twilio carried out the last attempt, but its answer was lost: the user exists, and the retry still answers 201.
    let made = world.send("POST", "/Users", ada()).await.is(201);
    assert_eq!((&made["externalId"], &made["name"]["givenName"]), (&json!("x-1"), &json!("Ada")));
    world.send("POST", "/Users", ada()).await.refused(409, "uniqueness");
    assert_eq!(world.get("/Users").await.is(200)["totalResults"], 1);
}

#[tokio::test]
async fn c16_a_create_that_fails_in_the_directory_is_finished_by_its_retry() {
    let mut world = world().await;
    world.break_table("scim_users");
    world.send("POST", "/Users", ada()).await.refused(503, "-");
    world.mend_table();
    world.restarted();
    let made = world.send("POST", "/Users", ada()).await.is(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(world.get(&format!("/Users/{id}")).await.is(200)["externalId"], "x-1");
    world.send("POST", "/Users", ada()).await.refused(409, "uniqueness");
}

#[tokio::test]
async fn c16_an_update_converges_whichever_side_fails() {
    let world = world().await;
    let id = world.user("ada").await;
    let path = format!("/Users/{id}");
    let change = json!([
        { "op": "replace", "path": "displayName", "value": "Ada Lovelace" },
        { "op": "add", "path": "externalId", "value": "x-2" },
        { "op": "add", "path": "locale", "value": "en-GB" },
    ]);
    // The change fails before Twilio has any of it, when Twilio has half of it, and when Twilio has all of it.
    twilio_fails(&world, "Provision", "status").await;
    world.patch(&path, change.clone()).await.refused(503, "-");
    world.no_faults().await;
    assert_eq!(world.get(&path).await.is(200)["displayName"], "The ada");
    twilio_fails(&world, "/v2/", "status").await;
    world.patch(&path, change.clone()).await.refused(503, "-");
    world.no_faults().await;
    world.break_table("scim_users");
    world.patch(&path, change.clone()).await.refused(503, "-");
    world.mend_table();
    let shown = world.patch(&path, change).await.is(200);
    assert_eq!((&shown["displayName"], &shown["externalId"]), (&json!("Ada Lovelace"), &json!("x-2")));
    let twilio = world.twilio_user(&id).await;
    assert_eq!((&twilio["full_name"], &twilio["locale"]), (&json!("Ada Lovelace"), &json!("en-GB")));
}

#[tokio::test]
async fn c16_a_deactivation_and_a_deletion_converge_whichever_side_fails() {
    let world = world().await;
    // Twilio may refuse to deprovision a user twice.
    world.simulator.switch(|switches| switches.deprovision_twice_status = 404);
    let id = world.user("ada").await;
    let path = format!("/Users/{id}");
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    twilio_fails(&world, "Deprovision", "status").await;
    world.patch(&path, off.clone()).await.refused(503, "-");
    world.no_faults().await;
    // SCIM shows the statement at once; Flex catches up with the retry.
    assert_eq!(world.get(&path).await.is(200)["active"], false);
    assert_eq!(world.twilio_user(&id).await["deactivated"], false);
    world.break_table("people");
    world.patch(&path, off.clone()).await.refused(503, "-");
    world.mend_table();
    assert_eq!(world.patch(&path, off).await.is(200)["active"], false);
    assert_eq!(world.twilio_user(&id).await["deactivated"], true);

    world.patch(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await.is(200);
    twilio_fails(&world, "Deprovision", "status").await;
    world.delete(&path).await.refused(503, "-");
    world.no_faults().await;
    world.get(&path).await.is(200);
    world.break_table("scim_users");
    world.delete(&path).await.refused(503, "-");
    world.mend_table();
    world.delete(&path).await.is(204);
    world.get(&path).await.refused(404, "-");
}

#[tokio::test]
async fn c16_a_group_that_was_written_down_before_twilio_failed_is_finished_by_the_retry() {
    let world = world().await;
    let (ada, grace) = (world.user("ada").await, world.user("grace").await);
    let body = json!({ "displayName": "Flex Supervisors", "members": [{ "value": ada }, { "value": grace }] });
    twilio_fails(&world, "Provision", "status").await;
    world.send("POST", "/Groups", body.clone()).await.refused(503, "-");
    world.no_faults().await;
    let group = world.send("POST", "/Groups", body.clone()).await.is(201);
    for user in [&ada, &grace] {
        assert_eq!(world.twilio_user(user).await["roles"], json!(["agent", "supervisor"]));
    }
    world.send("POST", "/Groups", body).await.refused(409, "uniqueness");

    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let remove = json!([{ "op": "remove", "path": "members", "value": [{ "value": ada }, { "value": grace }] }]);
    twilio_fails(&world, "Provision", "status").await;
    world.patch(&path, remove.clone()).await.refused(503, "-");
    world.no_faults().await;
    // The user is no longer a member but still has the role: the retry takes it away.
    assert_eq!(world.twilio_user(&grace).await["roles"], json!(["agent", "supervisor"]));
    world.patch(&path, remove.clone()).await.is(200);
    for user in [&ada, &grace] {
        assert_eq!(world.twilio_user(user).await["roles"], json!(["agent"]));
    }
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    world.patch(&path, add).await.is(200);
    twilio_fails(&world, "Provision", "status").await;
    world.delete(&path).await.refused(503, "-");
    world.no_faults().await;
    world.delete(&path).await.is(204);
    assert_eq!(world.twilio_user(&ada).await["roles"], json!(["agent"]));
}

#[tokio::test]
async fn c16_a_role_given_at_twilio_but_not_announced_is_announced_by_the_retry() {
    let world = world().await;
    let ada = world.user("ada").await;
    let group = world.send("POST", "/Groups", json!({ "displayName": "Flex Supervisors" })).await.is(201);
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    // The store records the group with its member and Twilio gets the role; then recording the announcement fails.
    world.break_announcement();
    world.patch(&path, add.clone()).await.refused(503, "-");
    world.mend_announcement();
    assert_eq!(world.twilio_user(&ada).await["roles"], json!(["agent", "supervisor"]));
    world.patch(&path, add).await.is(200);
    let remove = json!([{ "op": "remove", "path": "members" }]);
    world.patch(&path, remove).await.is(200);
    assert_eq!(world.twilio_user(&ada).await["roles"], json!(["agent"]));
}

#[tokio::test]
async fn two_who_create_one_user_at_once_make_one() {
    let world = world().await;
    let (one, other) = tokio::join!(world.send("POST", "/Users", ada()), world.send("POST", "/Users", ada()));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert!(matches!(statuses, [201, 409 | 503]), "{statuses:?}");
    assert_eq!(world.get("/Users").await.is(200)["totalResults"], 1);
}
