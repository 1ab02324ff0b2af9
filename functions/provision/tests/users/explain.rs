//! Tests `GET /users/{sid}/explain`.

use http::Method;
use serde_json::json;

use crate::{Directory, katherine};

#[tokio::test]
async fn a_user_is_explained_without_any_value_of_a_profile_field() {
    let directory = Directory::start().await;
    let mut body = katherine();
    body["roles"] = json!(["supervisor"]);
    let sid = directory.post(&body).await.body["flex_user_sid"].as_str().unwrap().to_owned();
    body["roles"] = json!(["agent"]);
    directory.post(&body).await;
    let reply = directory.get(&format!("/users/{sid}/explain")).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(!reply.text.contains("katherine@example.com") && !reply.text.contains("Johnson"), "{}", reply.text);
    let explained = reply.body;
    assert_eq!((&explained["active"], &explained["active_by"]), (&json!(true), &json!(["api"])));
    assert_eq!((&explained["in_step"], &explained["inactive_by"]), (&json!(true), &json!([])));
    assert_eq!(
        explained["roles"],
        json!([{ "role": "agent", "has": true, "reason": "stated", "by": ["api"] },
               { "role": "supervisor", "has": false, "reason": "taken_back", "by": [] }])
    );
    assert_eq!(explained["sources"][0]["fields"], json!(["email", "full_name"]));

    directory.call(Method::DELETE, &format!("/users/{sid}"), None).await;
    let explained = directory.get(&format!("/users/{sid}/explain")).await.body;
    assert_eq!((&explained["active"], &explained["inactive_by"]), (&json!(false), &json!(["api"])));
}

#[tokio::test]
async fn of_whom_no_source_has_spoken_there_is_nothing_to_explain_and_an_unknown_user_is_unknown() {
    let directory = Directory::start().await;
    directory.world.control("users", &json!({ "count": 1, "prefix": "ada" })).await;
    let found = directory.get("/users?username=ada000000").await.body;
    let sid = found["users"][0]["flex_user_sid"].as_str().unwrap().to_owned();
    let explained = directory.get(&format!("/users/{sid}/explain")).await.body;
    assert_eq!(
        (&explained["sources"], &explained["roles"], &explained["active"]),
        (&json!([]), &json!([]), &json!(true))
    );
    for unknown in [format!("FU{}", "0".repeat(32)), "nobody".to_owned()] {
        assert_eq!(directory.get(&format!("/users/{unknown}/explain")).await.status, 404);
    }
}
