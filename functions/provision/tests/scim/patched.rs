//! Regression tests for faults that tests with random patches have found. In each case, the answer was 200, but the
//! resource did not show the result of the patch.

use serde_json::{Value, json};

use crate::common::{Refused as _, Scim, scim};

const FLEX: &str = "urn:flexgate:params:scim:schemas:extension:flex:2.0:User";

async fn ada(scim: &Scim) -> String {
    let body = json!({
        "userName": "ada@example.com", "displayName": "Ada Lovelace", "locale": "en-GB",
        "name": { "formatted": "Ada Lovelace", "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@work.example", "type": "work", "primary": true }],
        FLEX: { "language": "en", "skill_level": 3 },
    });
    let made = scim.send("POST", "/Users", body).await.is(201);
    format!("/Users/{}", made["id"].as_str().unwrap())
}

fn one(op: &str, path: Option<&str>, value: &Value) -> Value {
    match path {
        Some(path) => json!([{ "op": op, "path": path, "value": value }]),
        None => json!([{ "op": op, "value": value }]),
    }
}

#[tokio::test]
async fn a_null_inside_a_value_removes_what_it_names() {
    let scim = scim().await;
    for (path, value) in [
        (Some("name"), json!({ "givenName": null, "familyName": "King" })),
        (None, json!({ "name": { "GivenName": null, "familyName": "King" } })),
        (Some("name"), json!({ "givenName": null })),
    ] {
        for op in ["add", "replace"] {
            let user = ada(&scim).await;
            let shown = scim.patch(&user, one(op, path, &value)).await.is(200);
            assert_eq!(shown["name"].get("givenName"), None, "{op} {value}: {shown}");
            scim.delete(&user).await.is(204);
        }
    }
    let user = ada(&scim).await;
    let by_filter = one("add", Some("emails[type eq \"work\"]"), &json!({ "type": null, "value": "a@home.example" }));
    let shown = scim.patch(&user, by_filter).await.is(200);
    assert_eq!(shown["emails"], json!([{ "value": "a@home.example", "primary": true }]));
    let all = one("replace", Some("name"), &json!({ "formatted": null, "givenName": null, "familyName": null }));
    assert_eq!(scim.patch(&user, all).await.is(200).get("name"), None);
}

#[tokio::test]
async fn a_null_instead_of_the_extension_removes_it() {
    let scim = scim().await;
    for (path, value) in [(None, json!({ FLEX: null })), (Some(FLEX), Value::Null)] {
        let user = ada(&scim).await;
        let shown = scim.patch(&user, one("replace", path, &value)).await.is(200);
        assert_eq!(shown.get(FLEX), None);
        let twilio = scim.world.twilio_user_of(user.trim_start_matches("/Users/")).await.unwrap();
        assert_eq!(twilio["worker"]["attributes"]["language"], "");
        scim.delete(&user).await.is(204);
    }
}

#[tokio::test]
async fn a_replacement_by_empty_values_is_refused() {
    let scim = scim().await;
    let user = ada(&scim).await;
    let id = user.trim_start_matches("/Users/");
    let group = json!({ "displayName": "Desk", "members": [{ "value": id }] });
    let group = scim.send("POST", "/Groups", group).await.is(201);
    let group = format!("/Groups/{}", group["id"].as_str().unwrap());
    for empty in [json!([{}]), json!([null]), json!([{ "value": null }]), json!({})] {
        for (resource, list) in [(&user, "emails"), (&group, "members")] {
            let before = scim.get(resource).await.is(200);
            scim.patch(resource, one("replace", Some(list), &empty)).await.refused(400, "invalidValue");
            scim.patch(resource, one("replace", None, &json!({ list: empty }))).await.refused(400, "invalidValue");
            assert_eq!(scim.get(resource).await.is(200), before);
            // An `add` without values changes nothing.
            scim.patch(resource, one("add", Some(list), &empty)).await.is(200);
            assert_eq!(scim.get(resource).await.is(200)[list], before[list]);
        }
    }
    scim.patch(&user, one("replace", Some("emails[type eq \"work\"]"), &json!({}))).await.refused(400, "invalidValue");
    // A `POST` or a `PUT` may contain empty values in a list.
    let body = json!({ "userName": "grace@example.com", "emails": [{}], "name": {}, "roles": [null] });
    assert_eq!(scim.send("POST", "/Users", body).await.is(201)["emails"][0]["value"], "grace@example.com");
    let body = json!({ "displayName": "Desk", "members": [{}] });
    assert_eq!(scim.send("PUT", &group, body).await.is(200)["members"], json!([]));
}

#[tokio::test]
async fn a_formatted_name_that_the_patch_sets_stays() {
    let scim = scim().await;
    for formatted in [
        json!({ "op": "replace", "path": "name.formatted", "value": "Ada Lovelace" }),
        json!({ "op": "replace", "path": "name", "value": { "formatted": "Ada Lovelace" } }),
        json!({ "op": "replace", "value": { "name.formatted": "Ada Lovelace" } }),
        json!({ "op": "add", "value": { "name": { "Formatted": "Ada Lovelace" } } }),
    ] {
        let user = ada(&scim).await;
        let family = json!({ "op": "replace", "path": "name.familyName", "value": "King" });
        let shown = scim.patch(&user, json!([formatted, family])).await.is(200);
        assert_eq!(shown["name"]["formatted"], "Ada Lovelace", "{formatted}");
        assert_eq!((&shown["name"]["familyName"], &shown["displayName"]), (&json!("King"), &json!("Ada King")));
        scim.delete(&user).await.is(204);
    }
}

#[tokio::test]
async fn an_inactive_user_shows_the_changes_that_flex_does_not_have_yet() {
    let scim = scim().await;
    let user = ada(&scim).await;
    let id = user.trim_start_matches("/Users/").to_owned();
    scim.patch(&user, one("replace", Some("active"), &json!(false))).await.is(200);
    let changes = json!([
        { "op": "replace", "path": "locale", "value": "de-DE" },
        { "op": "remove", "path": "emails" },
    ]);
    scim.patch(&user, changes).await.is(200);
    let found = scim.get("/Users?filter=userName%20eq%20%22ada@example.com%22").await.is(200)["Resources"][0].clone();
    for shown in [scim.get(&user).await.is(200), found] {
        assert_eq!((&shown["locale"], &shown["emails"][0]["value"]), (&json!("de-DE"), &json!("ada@example.com")));
    }
    let shown = scim.patch(&user, json!([{ "op": "remove", "path": "locale" }])).await.is(200);
    assert_eq!(shown.get("locale"), None);
    scim.patch(&user, one("replace", Some("active"), &json!(true))).await.is(200);
    let twilio = scim.world.twilio_user_of(&id).await.unwrap();
    assert_eq!((&twilio["email"], &twilio["deactivated"]), (&json!("ada@example.com"), &json!(false)));
}

#[tokio::test]
async fn of_two_spellings_of_active_the_one_that_counts_deactivates_even_if_the_rest_is_refused() {
    let scim = scim().await;
    let user = ada(&scim).await;
    let body = json!({
        "userName": "ada@example.com", "active": true, "URN:ietf:params:scim:schemas:core:2.0:User:active": false,
        "emails": "no address",
    });
    scim.send("PUT", &user, body).await.refused(400, "invalidValue");
    assert_eq!(scim.get(&user).await.is(200)["active"], false);
}

#[tokio::test]
async fn a_replaced_user_becomes_inactive_even_if_the_body_also_has_operations() {
    let scim = scim().await;
    let user = ada(&scim).await;
    let body = json!({ "userName": "ada@example.com", "active": false, "emails": "no address", "Operations": [] });
    scim.send("PUT", &user, body).await.refused(400, "invalidValue");
    assert_eq!(scim.get(&user).await.is(200)["active"], false);
}
