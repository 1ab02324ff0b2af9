//! Tests `/users` when everything works.

use http::Method;
use serde_json::json;

use crate::{Directory, katherine, process};

#[tokio::test]
async fn a_user_is_created_then_left_alone_then_updated() {
    let directory = Directory::start().await;
    let created = directory.post(&katherine()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let user = created.body;
    assert_eq!(
        (&user["username"], &user["roles"], &user["deactivated"]),
        (&json!("katherine"), &json!(["agent"]), &json!(false))
    );
    assert!(user["flex_user_sid"].as_str().unwrap().starts_with("FU") && user["worker_sid"].is_string());

    let same = directory.post(&katherine()).await;
    assert_eq!(same.status, 200);
    assert_eq!(directory.world.journal("Users/Provision").await.len(), 1, "nothing differed, nothing was sent");

    let mut promoted = katherine();
    promoted["roles"] = json!(["supervisor"]);
    let updated = directory.post(&promoted).await;
    assert_eq!((updated.status.as_u16(), &updated.body["roles"]), (200, &json!(["supervisor"])));
    assert_eq!(updated.body["flex_user_sid"], user["flex_user_sid"]);
    assert_eq!(directory.world.journal("Users/Provision").await.len(), 2);
}

#[tokio::test]
async fn users_are_found_by_name_and_by_sid_and_listed_by_the_page() {
    let directory = Directory::start().await;
    let mut sids = std::collections::BTreeSet::new();
    for index in 0..5 {
        let mut user = katherine();
        user["username"] = format!("user{index}").into();
        let created = directory.post(&user).await.body;
        sids.insert(created["flex_user_sid"].as_str().unwrap().to_owned());
    }
    let found = directory.get("/users?username=user3").await.body;
    assert_eq!(found["users"].as_array().unwrap().len(), 1);
    let sid = found["users"][0]["flex_user_sid"].as_str().unwrap();
    assert_eq!(directory.get(&format!("/users/{sid}")).await.body["username"], "user3");

    let (mut seen, mut path) = (std::collections::BTreeSet::new(), "/users?page_size=2".to_owned());
    loop {
        let page = directory.get(&path).await.body;
        for user in page["users"].as_array().unwrap() {
            assert!(seen.insert(user["flex_user_sid"].as_str().unwrap().to_owned()));
        }
        let Some(token) = page["next_page_token"].as_str() else { break };
        path = format!("/users?page_size=2&page_token={token}");
    }
    assert_eq!(seen, sids);
}

#[tokio::test]
async fn an_unknown_user_is_404_by_sid_and_an_empty_list_by_name() {
    let directory = Directory::start().await;
    let unknown = format!("FU{}", "0".repeat(32));
    for path in [format!("/users/{unknown}"), "/users/not-a-sid".into(), "/users/..%2F..%2Fadmin".into()] {
        assert_eq!(directory.get(&path).await.problem(), (404, "user_unknown".into()), "{path}");
        assert_eq!(directory.call(Method::DELETE, &path, None).await.problem(), (404, "user_unknown".into()));
    }
    let found = directory.get("/users?username=nobody").await;
    let hint = "Usernames are compared exactly, so upper and lower case count.";
    let empty = json!({ "users": [], "username": "nobody", "hint": hint, "next_page_token": null });
    assert_eq!((found.status.as_u16(), found.body), (200, empty));
}

#[tokio::test]
async fn r79_an_answer_names_the_username_as_it_was_read() {
    let directory = Directory::start().await;
    let mut user = katherine();
    user["username"] = "a+b@example.com".into();
    directory.post(&user).await;
    let query = async |text: &str| {
        let answer = directory.get(&format!("/users?username={text}")).await;
        assert_eq!(answer.status, 200, "{text}");
        (answer.body["username"].clone(), answer.body["users"].as_array().unwrap().len(), answer.body["hint"].clone())
    };
    assert_eq!(query("a%2Bb@example.com").await, (json!("a+b@example.com"), 1, json!(null)));
    for text in ["a+b@example.com", "a%20b@example.com"] {
        let hint = "In a query, + means a space. Write %2B for a plus sign.";
        assert_eq!(query(text).await, (json!("a b@example.com"), 0, json!(hint)));
    }
    let (username, found, hint) = query("A%2Bb@example.com").await;
    assert_eq!((username, found), (json!("A+b@example.com"), 0));
    assert!(hint.as_str().unwrap().contains("upper and lower case"));
    // The answer has no `username` if the query asks for all users.
    let all = directory.get("/users").await.body;
    assert!(all.get("username").is_none() && all.get("hint").is_none());
}

#[tokio::test]
async fn a_user_is_deprovisioned_and_provisioned_again() {
    let directory = Directory::start().await;
    let user = directory.post(&katherine()).await.body;
    let path = format!("/users/{}", user["flex_user_sid"].as_str().unwrap());
    let gone = directory.call(Method::DELETE, &path, None).await;
    assert_eq!((gone.status.as_u16(), gone.text.as_str()), (204, ""));
    assert_eq!(directory.get(&path).await.body["deactivated"], true);
    let back = directory.post(&katherine()).await;
    assert_eq!((back.status.as_u16(), &back.body["deactivated"]), (200, &json!(false)));
}

#[tokio::test]
async fn an_answer_that_leaves_fields_out_is_completed_before_it_is_compared() {
    let mut directory = Directory::start().await;
    directory.post(&katherine()).await;
    // The new store is empty, so Flexgate must search Twilio for the user.
    let store = format!("sqlite:{}", directory.world.store_path().with_file_name("another.db").display());
    directory.router = process(&directory.world, &[("FLEXGATE_STORE", &store)]);
    directory.world.switch(&json!({ "find_returns_deactivated": false })).await;
    directory.world.fault(&json!({
        "service": "flex-api", "method": "GET", "path_contains": "/Users", "kind": "status", "status": 200,
        "body": { "users": [{ "flex_user_sid": directory.get("/users?username=katherine").await.body["users"][0]["flex_user_sid"],
            "username": "katherine" }], "meta": {} },
    })).await;
    assert_eq!(directory.post(&katherine()).await.status, 200);
    assert_eq!(directory.world.journal("Users/Provision").await.len(), 1);
}

#[tokio::test]
async fn health_names_the_function() {
    let directory = Directory::start().await;
    let health = directory.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.body["function"]), (200, &json!("provision")));
}

#[tokio::test]
async fn admin_is_given_only_where_the_policy_opts_in() {
    let mut directory = Directory::start().await;
    let mut admin = katherine();
    admin["roles"] = json!(["agent", "admin"]);
    assert_eq!(directory.post(&admin).await.problem(), (403, "role_forbidden".into()));
    directory.router = process(&directory.world, &[("FLEXGATE_ALLOWED_ROLES", "none")]);
    assert_eq!(
        directory.post(&katherine()).await.problem(),
        (403, "role_forbidden".into()),
        "nobody may have anything"
    );
    directory.router = process(&directory.world, &[("FLEXGATE_ALLOWED_ROLES", "agent,admin")]);
    assert_eq!(directory.post(&admin).await.status, 201);
}

#[tokio::test]
async fn r71_the_last_administrator_is_neither_demoted_nor_deprovisioned() {
    let mut directory = Directory::start().await;
    directory.router = process(&directory.world, &[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")]);
    let mut admin = katherine();
    admin["roles"] = json!(["admin"]);
    let path = format!("/users/{}", directory.post(&admin).await.body["flex_user_sid"].as_str().unwrap());
    assert_eq!(directory.call(Method::DELETE, &path, None).await.problem(), (409, "last_admin".into()));
    assert_eq!(directory.post(&katherine()).await.problem(), (409, "last_admin".into()));
    assert_eq!(directory.get(&path).await.body["roles"], json!(["admin"]), "what is refused leaves nothing behind");

    let mut other = admin.clone();
    other["username"] = "grace".into();
    directory.post(&other).await;
    assert_eq!(directory.call(Method::DELETE, &path, None).await.status, 204);
}

#[tokio::test]
async fn a_role_made_by_hand_is_kept_and_one_that_a_request_gave_goes_with_it() {
    let directory = Directory::start().await;
    let mut lead = katherine();
    lead["roles"] = json!(["agent", "supervisor"]);
    directory.post(&lead).await;
    lead["roles"] = json!(["agent"]);
    assert_eq!(directory.post(&lead).await.body["roles"], json!(["agent"]));
}
