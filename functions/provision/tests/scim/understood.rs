//! Tests how Flexgate interprets the requests of identity systems (C4, C6, C7 and C14 of the attack register), and how
//! it maps them to Flex.

use flexgate_test_support::Log;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::common::{Refused as _, scim, scim_with};

#[tokio::test]
async fn c04_what_is_not_ours_to_take_is_ignored_and_a_password_never_kept() {
    let scim = scim().await;
    let log = Log::start();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "FU00000000000000000000000000000001",
        "meta": { "version": "x", "created": "1999-01-01T00:00:00Z" }, "password": "hunter2-canary", "groups": [],
        "userName": "ada@example.com", "displayName": "Ada", "nickName": "A", "shoeSize": 9,
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "R&D" },
    });
    let made = scim.send("POST", "/Users", body).await.is(201);
    assert_ne!(made["id"], "FU00000000000000000000000000000001");
    for name in ["password", "nickName", "shoeSize", "groups"] {
        assert_eq!(made.get(name), None, "{name}");
    }
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    scim.patch(&path, json!([{ "op": "replace", "path": "password", "value": "hunter2-canary" }])).await.is(200);
    assert!(!log.text().contains("hunter2-canary"));
    assert!(!log.text().contains("ada@example.com"));
    assert!(!scim.get(&path).await.is(200).to_string().contains("hunter2"));
    let stored = std::fs::read(scim.world.folder().join("flexgate.db-wal")).unwrap();
    assert!(!stored.windows(7).any(|bytes| bytes == b"hunter2"));
}

#[tokio::test]
async fn c06_active_is_a_boolean_or_the_word_for_one() {
    let scim = scim().await;
    let path = format!("/Users/{}", scim.user("ada").await);
    for (value, active) in
        [(json!("False"), false), (json!("True"), true), (json!("false"), false), (json!(true), true)]
    {
        let shown = scim.patch(&path, json!([{ "op": "Replace", "path": "active", "value": value }])).await.is(200);
        assert_eq!(shown["active"], active, "{value}");
    }
    for value in [json!(0), json!("no"), json!([]), json!({})] {
        let replace = json!([{ "op": "replace", "value": { "active": value } }]);
        let answer = scim.patch(&path, replace).await;
        if value == json!([]) || value == json!({}) {
            assert_eq!(answer.status, 400, "{value}");
        } else {
            answer.refused(400, "invalidValue");
        }
    }
    assert_eq!(scim.get(&path).await.is(200)["active"], true);
}

#[tokio::test]
async fn c07_operators_and_names_in_any_case_with_and_without_a_path() {
    let scim = scim_with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor")]).await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    let shown = scim
        .patch(
            &path,
            json!([
                { "op": "REPLACE", "path": "DISPLAYNAME", "value": "Ada Lovelace" },
                { "op": "Add", "value": { "name.givenName": "Ada", "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName": "Lovelace" } },
                { "op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:locale", "value": "en-GB" },
                { "op": "add", "path": "urn:flexgate:params:scim:schemas:extension:flex:2.0:User:language", "value": "en" },
                { "op": "add", "value": { "urn:flexgate:params:scim:schemas:extension:flex:2.0:User:skill_level": "7" } },
                { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "nobody@example.com" },
            ]),
        )
        .await;
    // No address has the type `work`, so the filter selects nothing (RFC 7644 §3.5.2.3).
    shown.refused(400, "noTarget");
    let before = scim.get(&path).await.is(200);
    assert_eq!(before["displayName"], "The ada", "all operations or none");
    let shown = scim
        .patch(
            &path,
            json!([
                { "op": "REPLACE", "path": "DISPLAYNAME", "value": "Ada Lovelace" },
                { "op": "Add", "value": { "name.givenName": "Ada", "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName": "Lovelace" } },
                { "op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:locale", "value": "en-GB" },
                { "op": "add", "path": "urn:flexgate:params:scim:schemas:extension:flex:2.0:User:language", "value": "en" },
                { "op": "add", "value": { "urn:flexgate:params:scim:schemas:extension:flex:2.0:User:skill_level": "7" } },
                { "op": "Add", "path": "emails[type eq \"work\"].value", "value": "ada@work.example" },
                { "op": "Replace", "path": "emails[type eq \"work\"].primary", "value": "True" },
            ]),
        )
        .await
        .is(200);
    assert_eq!(shown["name"], json!({ "givenName": "Ada", "familyName": "Lovelace" }));
    let twilio = scim.world.twilio_user_of(&id).await.unwrap();
    assert_eq!(twilio["full_name"], "Ada Lovelace");
    assert_eq!(twilio["email"], "ada@work.example");
    assert_eq!(twilio["locale"], "en-GB");
    let attributes: Value = match &twilio["worker"]["attributes"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    assert_eq!((&attributes["language"], &attributes["skill_level"]), (&json!("en"), &json!(7)));
    for unknown in ["shoeSize", "name.shoeSize", "urn:other:User:x", "emails[", "displayName[value eq \"x\"]"] {
        let write = json!([{ "op": "replace", "path": unknown, "value": "x" }]);
        scim.patch(&path, write).await.refused(400, "invalidPath");
    }
}

#[tokio::test]
async fn c10_pages_are_what_rfc_7644_says_of_odd_numbers() {
    let scim = scim().await;
    for name in ["ada", "grace", "linus"] {
        scim.user(name).await;
    }
    for (query, start, given) in [
        ("startIndex=0", 1, 3),
        ("startIndex=-5", 1, 3),
        ("startIndex=1000000000", 1_000_000_000, 0),
        ("startIndex=2", 2, 2),
        ("count=0", 1, 0),
        ("count=-1", 1, 0),
        ("count=1000000000", 1, 3),
        ("startIndex=2&count=1", 2, 1),
    ] {
        let list = scim.get(&format!("/Users?{query}")).await.is(200);
        assert_eq!(list["totalResults"], 3, "{query}");
        assert_eq!(list["startIndex"], start, "{query}");
        assert_eq!(list["itemsPerPage"], given, "{query}");
        assert_eq!(list["Resources"].as_array().unwrap().len(), given, "{query}");
    }
    scim.get("/Users?startIndex=one").await.refused(400, "invalidValue");
    scim.get("/Users?count=1&count=2").await.refused(400, "invalidValue");
}

#[tokio::test]
async fn c14_an_external_id_is_never_an_id() {
    let scim = scim().await;
    let ada = scim.user("ada").await;
    let body = json!({ "userName": "eve", "externalId": ada, "emails": ["eve@example.com"] });
    let eve = scim.send("POST", "/Users", body).await.is(201)["id"].as_str().unwrap().to_owned();
    assert_ne!(eve, ada);
    assert_eq!(scim.get(&format!("/Users/{ada}")).await.is(200)["userName"], "ada");
    let found = scim.get(&format!("/Users?filter=id%20eq%20%22{ada}%22")).await.is(200);
    assert_eq!(found["Resources"][0]["userName"], "ada");
    let found = scim.get(&format!("/Users?filter=externalId%20eq%20%22{ada}%22")).await.is(200);
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(eve)));
    scim.delete(&format!("/Users/{eve}")).await.is(204);
    assert_eq!(scim.get(&format!("/Users/{ada}")).await.is(200)["active"], true);
    scim.get("/Users/not-a-sid").await.refused(404, "-");
}

#[tokio::test]
async fn users_from_elsewhere_are_found_listed_and_keep_what_scim_does_not_touch() {
    let scim = scim().await;
    let sid = scim.world.at_twilio("Grace.Hopper", &["supervisor"]).await;
    let found = scim.get("/Users?filter=userName%20eq%20%22Grace.Hopper%22").await.is(200);
    assert_eq!(found["Resources"][0]["id"], json!(sid));
    assert_eq!(found["Resources"][0]["name"]["familyName"], "Example");
    let path = format!("/Users/{sid}");
    let body = json!({ "userName": "grace.hopper", "externalId": "g-1", "name": { "givenName": "Grace", "familyName": "Hopper" } });
    scim.send("PUT", &path, body).await.is(200);
    let twilio = scim.world.twilio_user_of(&sid).await.unwrap();
    assert_eq!((&twilio["roles"], &twilio["full_name"]), (&json!(["supervisor"]), &json!("Grace Hopper")));
    // SCIM shows later changes at Twilio.
    scim.world.at_twilio("Grace.Hopper", &["agent"]).await;
    let shown = scim.get(&path).await.is(200);
    assert_eq!((&shown["displayName"], &shown["externalId"]), (&json!("Grace.Hopper Example"), &json!("g-1")));
    assert_eq!(shown["roles"], json!([{ "value": "agent" }]));
}

#[tokio::test]
async fn an_inactive_user_is_edited_without_being_made_active() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    let shown = scim.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": "Ada L." }])).await.is(200);
    assert_eq!((&shown["active"], &shown["displayName"]), (&json!(false), &json!("Ada L.")));
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true);
    assert_eq!(scim.get(&path).await.is(200)["displayName"], "Ada L.");
    let found = scim.get("/Users?filter=userName%20eq%20%22ada%22").await.is(200);
    assert_eq!(found["Resources"][0]["active"], false);
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": true } }])).await.is(200);
    let twilio = scim.world.twilio_user_of(&id).await.unwrap();
    assert_eq!((&twilio["deactivated"], &twilio["full_name"]), (&json!(false), &json!("Ada L.")));
}

#[tokio::test]
async fn a_user_keeps_its_id_where_twilio_gives_a_new_sid_when_reactivated() {
    let scim = scim().await;
    scim.world.switch(&json!({ "provision_reactivates": "new_sid" })).await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    let shown = scim.patch(&path, json!([{ "op": "replace", "value": { "active": true } }])).await.is(200);
    assert_eq!((&shown["id"], &shown["active"]), (&json!(id), &json!(true)));
    assert_eq!(scim.get(&path).await.is(200)["active"], true);
    let list = scim.get("/Users").await.is(200);
    assert_eq!((&list["totalResults"], &list["Resources"][0]["id"]), (&json!(1), &json!(id)));
    let found = scim.get("/Users?filter=userName%20eq%20%22ada%22").await.is(200);
    assert_eq!(found["Resources"][0]["id"], json!(id));
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    assert_eq!(scim.get(&path).await.is(200)["active"], false);

    scim.world.switch(&json!({ "provision_reactivates": "stays_deactivated" })).await;
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": true } }])).await.refused(502, "-");
}

#[tokio::test]
async fn a_group_gives_its_role_and_takes_it_back_and_an_unmapped_one_gives_none() {
    let scim = scim().await;
    let (ada, grace) = (scim.user("ada").await, scim.world.at_twilio("grace", &["agent", "supervisor"]).await);
    let plain = json!({ "displayName": "Everybody", "members": [{ "value": ada }, { "value": grace }] });
    scim.world.forget_calls().await;
    scim.send("POST", "/Groups", plain).await.is(201);
    assert!(scim.calls().await.is_empty(), "an unmapped group asks Twilio nothing");
    let leads = json!({ "displayName": "Flex Supervisors", "members": [{ "value": ada }] });
    let leads = scim.send("POST", "/Groups", leads).await.is(201);
    let path = format!("/Groups/{}", leads["id"].as_str().unwrap());
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent", "supervisor"]));
    let shown = scim.get(&format!("/Users/{ada}")).await.is(200);
    assert_eq!(shown["groups"].as_array().unwrap().len(), 2);
    // A change to another attribute keeps the role. Deactivation removes the role, and reactivation restores it.
    let user = format!("/Users/{ada}");
    scim.patch(&user, json!([{ "op": "replace", "path": "displayName", "value": "A" }])).await.is(200);
    for active in [false, true] {
        scim.patch(&user, json!([{ "op": "replace", "value": { "active": active } }])).await.is(200);
    }
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent", "supervisor"]));
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{ada}\"]") }]);
    assert_eq!(scim.patch(&path, remove).await.is(200)["members"], json!([]));
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent"]));
    // A group's name decides which role the group gives. So a new name changes the members' roles.
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }]);
    scim.patch(&path, add).await.is(200);
    scim.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": "Old Supervisors" }])).await.is(200);
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent"]));
    scim.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": "Flex Supervisors" }])).await.is(200);
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent", "supervisor"]));
    scim.delete(&path).await.is(204);
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["roles"], json!(["agent"]));
    scim.delete(&path).await.refused(404, "-");
    let missing =
        json!({ "displayName": "Flex Supervisors", "members": [{ "value": format!("FU{}", "0".repeat(32)) }] });
    scim.send("POST", "/Groups", missing).await.refused(400, "invalidValue");
}

#[tokio::test]
async fn only_what_is_asked_for_is_sent() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let shown = scim.get(&format!("/Users/{id}?attributes=userName,emails.value,meta.version")).await.is(200);
    let mut keys: Vec<_> = shown.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["emails", "id", "meta", "schemas", "userName"]);
    assert_eq!(shown["emails"], json!([{ "value": "ada@example.com" }]));
    let shown = scim.get(&format!("/Users/{id}?excludedAttributes=emails,id,name.givenName")).await.is(200);
    assert_eq!((shown.get("emails"), shown.get("id").is_some()), (None, true));
}

#[tokio::test]
async fn twilio_may_leave_out_fields_inactive_users_and_case() {
    let scim = scim().await;
    let switches = json!({ "sparse_responses": true, "find_returns_deactivated": false, "find_case_sensitive": false });
    scim.world.switch(&switches).await;
    let id = scim.user("Ada").await;
    let path = format!("/Users/{id}");
    let find = "/Users?filter=userName%20eq%20%22ada%22";
    let found = scim.get(find).await.is(200);
    assert_eq!(found["Resources"][0]["displayName"], "The Ada");
    assert_eq!(found["Resources"][0]["active"], true);
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    let found = scim.get(find).await.is(200);
    assert_eq!((&found["Resources"][0]["id"], &found["Resources"][0]["active"]), (&json!(id), &json!(false)));
    let again = json!({ "userName": "ada", "emails": ["ada@example.com"] });
    scim.send("POST", "/Users", again.clone()).await.refused(409, "uniqueness");
    scim.delete(&path).await.is(204);
    scim.get(&path).await.refused(404, "-");
    assert_eq!(scim.send("POST", "/Users", again).await.is(201)["id"], json!(id));
}

#[tokio::test]
async fn r45_schemas_list_only_the_roles_that_the_policy_allows() {
    let scim = scim_with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor")]).await;
    let schemas = scim.get("/Schemas").await.is(200).to_string();
    assert!(schemas.contains(r#""canonicalValues":["agent","supervisor"]"#), "{schemas}");
    let scim = scim_with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")]).await;
    let schemas = scim.get("/Schemas").await.is(200).to_string();
    assert!(schemas.contains(r#""canonicalValues":["agent","supervisor","admin"]"#), "{schemas}");
}

#[tokio::test]
async fn r46_an_address_may_end_with_a_slash() {
    let scim = scim().await;
    let body = json!({ "userName": "ada", "displayName": "Ada", "emails": ["ada@example.com"] });
    let id = scim.send("POST", "/Users/", body.clone()).await.is(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/Users/{id}/");
    assert_eq!(scim.get(&path).await.is(200)["id"], json!(id));
    assert_eq!(scim.get("/Users/?count=1").await.is(200)["totalResults"], 1);
    scim.send("PUT", &path, body).await.is(200);
    scim.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": "Ada L" }])).await.is(200);
    for discovered in ["/Schemas/", "/ResourceTypes/", "/ServiceProviderConfig/", "/ResourceTypes/User/"] {
        scim.get(discovered).await.is(200);
    }
    let group = scim.send("POST", "/Groups/", json!({ "displayName": "Agents" })).await.is(201);
    scim.delete(&format!("/Groups/{}/", group["id"].as_str().unwrap())).await.is(204);
    scim.delete(&path).await.is(204);
    // A slash at the end does not make an unknown path valid.
    for unknown in ["/Users/x/y/", "/Nothing/", "/Me/"] {
        scim.get(unknown).await.refused(404, "-");
    }
}

#[tokio::test]
async fn r49_a_group_without_members_has_an_empty_list() {
    let scim = scim().await;
    let made = scim.send("POST", "/Groups", json!({ "displayName": "Agents" })).await.is(201);
    let path = format!("/Groups/{}", made["id"].as_str().unwrap());
    for shown in [made, scim.get(&path).await.is(200)] {
        assert_eq!(shown["members"], json!([]));
    }
    assert_eq!(scim.get("/Groups").await.is(200)["Resources"][0]["members"], json!([]));
    assert_eq!(scim.get(&format!("{path}?excludedAttributes=members")).await.is(200).get("members"), None);
    let ada = scim.user("ada").await;
    scim.patch(&path, json!([{ "op": "add", "path": "members", "value": [{ "value": ada }] }])).await.is(200);
    let emptied = scim.patch(&path, json!([{ "op": "remove", "path": "members" }])).await.is(200);
    assert_eq!(emptied["members"], json!([]));
}

#[tokio::test]
async fn r50_a_removal_that_lists_nobody_removes_nobody() {
    let scim = scim().await;
    let (ada, grace) = (scim.user("ada").await, scim.user("grace").await);
    let members = json!([{ "value": ada }, { "value": grace }]);
    let made = scim.send("POST", "/Groups", json!({ "displayName": "Agents", "members": members })).await.is(201);
    let path = format!("/Groups/{}", made["id"].as_str().unwrap());
    let remove = |value: Value| json!([{ "op": "remove", "path": "members", "value": value }]);
    let count = |group: Value| group["members"].as_array().unwrap().len();
    assert_eq!(count(scim.patch(&path, remove(json!([]))).await.is(200)), 2);
    for unclear in [json!([{}]), json!({}), json!([{ "value": ada }, {}]), json!([null]), json!([{ "value": null }])] {
        scim.patch(&path, remove(unclear)).await.refused(400, "invalidValue");
    }
    assert_eq!(count(scim.get(&path).await.is(200)), 2);
    assert_eq!(count(scim.patch(&path, remove(json!([{ "value": ada }]))).await.is(200)), 1);
    // The same rules apply to a user's roles: a `remove` of an empty list changes nothing, and a `remove` of an empty
    // value is refused.
    let path = format!("/Users/{grace}");
    let roles = |value: Value| json!([{ "op": "remove", "path": "roles", "value": value }]);
    let before = scim.get(&path).await.is(200)["roles"].clone();
    assert_eq!(scim.patch(&path, roles(json!([]))).await.is(200)["roles"], before);
    scim.patch(&path, roles(json!([{}]))).await.refused(400, "invalidValue");
}

#[tokio::test]
async fn r53_a_body_without_a_content_type_is_read_as_scim() {
    let scim = scim().await;
    let body = json!({ "userName": "ada", "displayName": "Ada", "emails": ["ada@example.com"] });
    let mut request = scim.request("POST", "/Users", Some(&body));
    request.headers_mut().remove("content-type");
    scim.call(request).await.is(201);
    // Flexgate refuses the content type of a form, a content type that is not text, and a request with two content
    // types.
    let grace = json!({ "userName": "grace", "displayName": "Grace", "emails": ["grace@example.com"] });
    let other = |content_type: HeaderValue| {
        let mut request = scim.request("POST", "/Users", Some(&grace));
        request.headers_mut().insert("content-type", content_type);
        request
    };
    scim.call(other(HeaderValue::from_static("application/x-www-form-urlencoded"))).await.refused(415, "-");
    for unreadable in [&b"\xff"[..], b"application/json\xe9", b"\xe9; application/json"] {
        scim.call(other(HeaderValue::from_bytes(unreadable).unwrap())).await.refused(415, "-");
    }
    let mut twice = other(HeaderValue::from_static("application/json"));
    twice.headers_mut().append("content-type", HeaderValue::from_static("text/plain"));
    scim.call(twice).await.refused(415, "-");
    assert_eq!(scim.get("/Users").await.is(200)["totalResults"], 1);
}
