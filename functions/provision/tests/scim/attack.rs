//! Regression tests for bugs in the people ledger, found through SCIM.

use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Refused as _, scim};

fn body(key: &str) -> Value {
    json!({ "userName": "ada@example.com", "externalId": key, "displayName": "Ada",
            "emails": [{ "value": "ada@example.com" }] })
}

fn active(on: bool) -> Value {
    json!([{ "op": "replace", "path": "active", "value": on }])
}

#[tokio::test]
async fn c16_somebody_else_whom_the_directory_failed_for_is_finished_by_the_retry() {
    let mut scim = scim().await;
    let made = scim.send("POST", "/Users", body("x-1")).await.is(201);
    let id = made["id"].as_str().unwrap().to_owned();
    scim.delete(&format!("/Users/{id}")).await.is(204);
    scim.break_table("scim_users");
    scim.send("POST", "/Users", body("x-2")).await.refused(503, "-");
    scim.mend_table();
    scim.restarted();
    let again = scim.send("POST", "/Users", body("x-2")).await;
    scim.send("POST", "/Users", body("x-2")).await;
    assert_eq!(again.status, 201);
}

#[tokio::test]
async fn r63_a_group_gives_its_role_to_the_successor_under_the_id_that_scim_shows() {
    let scim = scim().await;
    scim.world.ask(Method::POST, "/__sim/switches", &json!({ "provision_reactivates": "new_sid" })).await;
    let id = scim.send("POST", "/Users", body("x-1")).await.is(201)["id"].as_str().unwrap().to_owned();
    for on in [false, true] {
        scim.patch(&format!("/Users/{id}"), active(on)).await.is(200);
    }
    scim.delete(&format!("/Users/{id}")).await.is(204);
    let made = scim.send("POST", "/Users", body("x-2")).await.is(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let group = scim.send("POST", "/Groups", json!({ "displayName": "Flex Supervisors" })).await.is(201);
    let group = format!("/Groups/{}", group["id"].as_str().unwrap());
    let joins = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    scim.patch(&group, joins).await.is(200);
    let users = scim.world.ask(Method::GET, "/__sim/users", &Value::Null).await;
    let users = users["users"].as_array().unwrap().clone();
    let now = users.iter().find(|user| user["deactivated"] == false).unwrap();
    assert_eq!(now["roles"], json!(["agent", "supervisor"]));
}
