//! Tests requests that fail halfway, at Twilio or in the store (case C16 of the attack register). When the client
//! retries such a request, Flexgate must complete the change.

use serde_json::{Value, json};

use crate::common::{Refused as _, Scim, scim};

async fn twilio_fails(scim: &Scim, path: &str, kind: &str) {
    let fault = json!({
        "service": "flex-api", "method": "POST", "path_contains": path, "kind": kind, "status": 503, "body": {},
        "times": "always",
    });
    scim.world.fault(&fault).await;
}

fn ada() -> Value {
    json!({ "userName": "ada", "externalId": "x-1", "emails": ["ada@example.com"], "name": { "givenName": "Ada", "familyName": "L" } })
}

#[tokio::test]
async fn c16_a_create_that_fails_at_twilio_is_finished_by_its_retry() {
    let scim = scim().await;
    for kind in ["status", "lost_response"] {
        twilio_fails(&scim, "Provision", kind).await;
        scim.send("POST", "/Users", ada()).await.refused(503, "-");
        scim.world.no_faults().await;
    }
    // At the previous attempt, Twilio created the user, but the answer was lost. The retry must still answer 201.
    let made = scim.send("POST", "/Users", ada()).await.is(201);
    assert_eq!((&made["externalId"], &made["name"]["givenName"]), (&json!("x-1"), &json!("Ada")));
    scim.send("POST", "/Users", ada()).await.refused(409, "uniqueness");
    assert_eq!(scim.get("/Users").await.is(200)["totalResults"], 1);
}

#[tokio::test]
async fn c16_a_create_that_fails_in_the_directory_is_finished_by_its_retry() {
    let mut scim = scim().await;
    scim.break_table("scim_users");
    scim.send("POST", "/Users", ada()).await.refused(503, "-");
    scim.mend_table();
    scim.restarted();
    let made = scim.send("POST", "/Users", ada()).await.is(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(scim.get(&format!("/Users/{id}")).await.is(200)["externalId"], "x-1");
    scim.send("POST", "/Users", ada()).await.refused(409, "uniqueness");
}

#[tokio::test]
async fn c16_an_update_converges_whichever_side_fails() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    let change = json!([
        { "op": "replace", "path": "displayName", "value": "Ada Lovelace" },
        { "op": "add", "path": "externalId", "value": "x-2" },
        { "op": "add", "path": "locale", "value": "en-GB" },
    ]);
    // The first attempt fails at Twilio before it changes anything. The second attempt fails after half of the change.
    // The third fails in Flexgate's store, after Twilio has made the whole change.
    twilio_fails(&scim, "Provision", "status").await;
    scim.patch(&path, change.clone()).await.refused(503, "-");
    scim.world.no_faults().await;
    assert_eq!(scim.get(&path).await.is(200)["displayName"], "The ada");
    twilio_fails(&scim, "/v2/", "status").await;
    scim.patch(&path, change.clone()).await.refused(503, "-");
    scim.world.no_faults().await;
    scim.break_table("scim_users");
    scim.patch(&path, change.clone()).await.refused(503, "-");
    scim.mend_table();
    let shown = scim.patch(&path, change).await.is(200);
    assert_eq!((&shown["displayName"], &shown["externalId"]), (&json!("Ada Lovelace"), &json!("x-2")));
    let twilio = scim.world.twilio_user_of(&id).await.unwrap();
    assert_eq!((&twilio["full_name"], &twilio["locale"]), (&json!("Ada Lovelace"), &json!("en-GB")));
}

#[tokio::test]
async fn c16_a_deactivation_and_a_deletion_converge_whichever_side_fails() {
    let scim = scim().await;
    // Make the simulated Twilio refuse to deprovision a user a second time, as the real Twilio may do.
    scim.world.switch(&json!({ "deprovision_twice_status": 404 })).await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    twilio_fails(&scim, "Deprovision", "status").await;
    scim.patch(&path, off.clone()).await.refused(503, "-");
    scim.world.no_faults().await;
    // The ledger already contains the deactivation, so SCIM shows it. The retry updates Flex.
    assert_eq!(scim.get(&path).await.is(200)["active"], false);
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], false);
    scim.break_table("people");
    scim.patch(&path, off.clone()).await.refused(503, "-");
    scim.mend_table();
    assert_eq!(scim.patch(&path, off).await.is(200)["active"], false);
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true);

    scim.patch(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await.is(200);
    twilio_fails(&scim, "Deprovision", "status").await;
    scim.delete(&path).await.refused(503, "-");
    scim.world.no_faults().await;
    scim.get(&path).await.is(200);
    scim.break_table("scim_users");
    scim.delete(&path).await.refused(503, "-");
    scim.mend_table();
    scim.delete(&path).await.is(204);
    scim.get(&path).await.refused(404, "-");
}

#[tokio::test]
async fn c16_a_group_that_was_written_down_before_twilio_failed_is_finished_by_the_retry() {
    let scim = scim().await;
    let (ada, grace) = (scim.user("ada").await, scim.user("grace").await);
    let body = json!({ "displayName": "Flex Supervisors", "members": [{ "value": ada }, { "value": grace }] });
    twilio_fails(&scim, "Provision", "status").await;
    scim.send("POST", "/Groups", body.clone()).await.refused(503, "-");
    scim.world.no_faults().await;
    let group = scim.send("POST", "/Groups", body.clone()).await.is(201);
    for user in [&ada, &grace] {
        assert_eq!(scim.world.twilio_user_of(user).await.unwrap()["roles"], json!(["agent", "supervisor"]));
    }
    scim.send("POST", "/Groups", body).await.refused(409, "uniqueness");

    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let remove = json!([{ "op": "remove", "path": "members", "value": [{ "value": ada }, { "value": grace }] }]);
    twilio_fails(&scim, "Provision", "status").await;
    scim.patch(&path, remove.clone()).await.refused(503, "-");
    scim.world.no_faults().await;
    // Grace has left the group but still has the group's role. The retry removes the role.
    assert_eq!(scim.world.twilio_user_of(&grace).await.unwrap()["roles"], json!(["agent", "supervisor"]));
    scim.patch(&path, remove.clone()).await.is(200);
    for user in [&ada, &grace] {
        assert_eq!(scim.world.twilio_user_of(user).await.unwrap()["roles"], json!(["agent"]));
    }
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    scim.patch(&path, add).await.is(200);
    twilio_fails(&scim, "Provision", "status").await;
    scim.delete(&path).await.refused(503, "-");
    scim.world.no_faults().await;
    scim.delete(&path).await.is(204);
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn c16_a_role_given_at_twilio_but_not_announced_is_announced_by_the_retry() {
    let scim = scim().await;
    let ada = scim.user("ada").await;
    let group = scim.send("POST", "/Groups", json!({ "displayName": "Flex Supervisors" })).await.is(201);
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    // Only the last write to the store fails. This write records that Twilio has the member's new role.
    scim.break_announcement();
    scim.patch(&path, add.clone()).await.refused(503, "-");
    scim.mend_announcement();
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent", "supervisor"]));
    scim.patch(&path, add).await.is(200);
    let remove = json!([{ "op": "remove", "path": "members" }]);
    scim.patch(&path, remove).await.is(200);
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn two_who_create_one_user_at_once_make_one() {
    let scim = scim().await;
    let (one, other) = tokio::join!(scim.send("POST", "/Users", ada()), scim.send("POST", "/Users", ada()));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert!(matches!(statuses, [201, 409 | 503]), "{statuses:?}");
    assert_eq!(scim.get("/Users").await.is(200)["totalResults"], 1);
}
