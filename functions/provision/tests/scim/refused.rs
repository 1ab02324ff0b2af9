//! Tests requests that Flexgate must refuse (C1, C3, C5, C8, C9, C11 to C13, C15 and C17 of the attack register).

use axum::body::Body;
use flexgate::base::clock_rng::SystemRng;
use flexgate_provision::NewToken;
use flexgate_test_support::Log;
use http::Request;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::common::{Refused as _, scim, scim_with};

#[tokio::test]
async fn c01_without_a_good_token_there_is_nothing() {
    let scim = scim().await;
    let log = Log::start();
    let other = NewToken::generate("test", &SystemRng).token.expose_secret().to_owned();
    let with = |value: &str| Request::get("/scim/v2/Users").header("authorization", value).body(Body::empty()).unwrap();
    let mut refused = 0;
    for request in [
        Request::get("/scim/v2/Users").body(Body::empty()).unwrap(),
        Request::get("/scim/v2/NoSuchThing").body(Body::empty()).unwrap(),
        with("Bearer fgscim_"),
        with(&format!("Bearer {other}")),
        with(&format!("Basic {}", scim.token)),
        with(&format!("Bearer {}", &scim.token["fgscim_".len()..])),
        with(&format!("Bearer fgscim_{}", "a".repeat(5_000))),
    ] {
        let answer = scim.call(request).await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        answer.refused(401, "-");
        refused += 1;
    }
    let mut twice = with(&format!("Bearer {}", scim.token));
    twice.headers_mut().append("authorization", "Bearer x".parse().unwrap());
    scim.call(twice).await.refused(401, "-");
    assert_eq!(log.audit(), vec!["scim_read refused token_invalid"; refused + 1]);
    assert!(!log.text().contains(&other));
}

#[tokio::test]
async fn r15_a_malformed_path_is_a_scim_error() {
    let scim = scim().await;
    for path in ["/Users/%ff", "/Groups/%c3%28", "/Schemas/%80", "/ResourceTypes/%ff", "/%ff"] {
        scim.get(path).await.refused(404, "-");
    }
    let log = Log::start();
    let without = Request::get("/scim/v2/Users/%ff").body(Body::empty()).unwrap();
    scim.call(without).await.refused(401, "-");
    assert_eq!(log.audit(), ["scim_read refused token_invalid"]);
}

#[tokio::test]
async fn c01_a_token_in_the_address_is_refused_even_beside_a_good_one() {
    let scim = scim().await;
    for query in [format!("access_token={}", scim.token), format!("x=a{}", scim.token), "token=1".to_owned()] {
        scim.get(&format!("/Users?{query}")).await.refused(401, "-");
    }
}

#[tokio::test]
async fn c01_two_tokens_are_live_and_a_removed_one_is_not() {
    let mut scim = scim().await;
    let new = NewToken::generate("new", &SystemRng);
    let file = scim.world.secret_path("scim-tokens");
    let mut both: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let added = serde_json::to_value(&new.hashes).unwrap();
    both["tokens"].as_array_mut().unwrap().extend(added["tokens"].as_array().unwrap().clone());
    std::fs::write(&file, both.to_string()).unwrap();
    scim.get("/Users").await.is(200);
    let old = std::mem::replace(&mut scim.token, new.token.expose_secret().to_owned());
    scim.get("/Users").await.is(200);
    std::fs::write(&file, added.to_string()).unwrap();
    scim.restarted();
    scim.get("/Users").await.is(200);
    scim.token = old;
    scim.get("/Users").await.refused(401, "-");
}

#[tokio::test]
async fn c03_a_user_name_that_differs_in_case_only_is_taken() {
    let scim = scim().await;
    let ada = json!({ "userName": "Ada@example.com", "displayName": "Ada" });
    scim.send("POST", "/Users", ada.clone()).await.is(201);
    scim.send("POST", "/Users", ada).await.refused(409, "uniqueness");
    for name in ["ada@example.com", "ADA@EXAMPLE.COM"] {
        scim.send("POST", "/Users", json!({ "userName": name })).await.refused(409, "uniqueness");
    }
    // A username is also taken if the user was created outside SCIM. Flexgate finds `grace` at Twilio, because it also
    // searches for the name in lower case.
    scim.world.at_twilio("grace", &["agent"]).await;
    scim.send("POST", "/Users", json!({ "userName": "GRACE", "emails": ["g@example.com"] }))
        .await
        .refused(409, "uniqueness");
    // A search for `linus` at Twilio does not find `Linus`. But Flexgate learns this spelling when it lists the users.
    scim.world.at_twilio("Linus", &["agent"]).await;
    scim.get("/Users").await.is(200);
    scim.send("POST", "/Users", json!({ "userName": "linus", "emails": ["l@example.com"] }))
        .await
        .refused(409, "uniqueness");
}

#[tokio::test]
async fn c05_a_role_that_the_policy_forbids_is_given_neither_directly_nor_through_a_group() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let log = Log::start();
    let admin = json!([{ "value": "admin" }]);
    let body = json!({ "userName": "eve", "emails": ["eve@example.com"], "roles": admin });
    scim.send("POST", "/Users", body).await.refused(403, "-");
    let path = format!("/Users/{id}");
    scim.patch(&path, json!([{ "op": "add", "path": "roles", "value": admin }])).await.refused(403, "-");
    scim.send("PUT", &path, json!({ "userName": "ada", "roles": admin })).await.refused(403, "-");
    let group = json!({ "displayName": "flex admins", "members": [{ "value": id }] });
    scim.send("POST", "/Groups", group).await.refused(403, "-");
    assert_eq!(
        log.audit(),
        [
            "scim_create refused role_forbidden",
            "scim_update refused role_forbidden",
            "scim_update refused role_forbidden",
            "scim_create refused role_forbidden"
        ]
    );
    let empty = scim.send("POST", "/Groups", json!({ "displayName": "Flex Admins" })).await.is(201);
    let path = format!("/Groups/{}", empty["id"].as_str().unwrap());
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
    scim.patch(&path, add.clone()).await.refused(403, "-");
    // Renaming a group must not be a way to give a forbidden role.
    let plain = json!({ "displayName": "Plain", "members": [{ "value": id }] });
    let plain = scim.send("POST", "/Groups", plain).await.is(201);
    scim.delete(&path).await.is(204);
    let rename = json!([{ "op": "replace", "value": { "displayName": "Flex Admins" } }]);
    scim.patch(&format!("/Groups/{}", plain["id"].as_str().unwrap()), rename).await.refused(403, "-");
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn c08_a_removal_names_what_it_removes() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let group = json!({ "displayName": "Team", "members": [{ "value": id }] });
    let group = scim.send("POST", "/Groups", group).await.is(201);
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    scim.patch(&path, json!([{ "op": "remove" }])).await.refused(400, "noTarget");
    for filter in [r#"value eq "a" or value pr"#, "value pr", r#"not (value eq "a")"#, r#"value ne "a""#] {
        let remove = json!([{ "op": "remove", "path": format!("members[{filter}]") }]);
        scim.patch(&path, remove).await.refused(400, "invalidFilter");
    }
    scim.patch(&path, json!([{ "op": "remove", "path": "displayName" }])).await.refused(400, "mutability");
    let path = format!("/Users/{id}");
    for name in ["userName", "active"] {
        scim.patch(&path, json!([{ "op": "remove", "path": name }])).await.refused(400, "mutability");
    }
    for name in ["id", "meta.version", "groups"] {
        let write = json!([{ "op": "replace", "path": name, "value": "x" }]);
        scim.patch(&path, write).await.refused(400, "mutability");
    }
}

#[tokio::test]
async fn c09_a_filter_that_cannot_be_read_is_refused() {
    let scim = scim().await;
    let deep = format!("{}userName pr{}", "not (".repeat(500), ")".repeat(500));
    let long = format!("userName eq \"{}\"", "a".repeat(100 * 1024));
    for filter in [deep.as_str(), long.as_str(), r#"userName eq "a"b""#, "userName eq", "", "userName", "eq eq eq"] {
        scim.send("POST", "/Users/.search", json!({ "filter": filter })).await.refused(400, "invalidFilter");
    }
    for filter in ["userName%20eq%20%22a%22b%22", &"a".repeat(60_000)] {
        scim.get(&format!("/Users?filter={filter}")).await.refused(400, "invalidFilter");
        scim.get(&format!("/Groups?filter={filter}")).await.refused(400, "invalidFilter");
    }
}

#[tokio::test]
async fn c11_a_stale_version_changes_nothing() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    let shown = scim.get(&path).await;
    let version = shown.headers["etag"].to_str().unwrap().to_owned();
    assert!(version.starts_with("W/\""));
    assert_eq!(shown.is(200)["meta"]["version"], json!(version));
    let rename = json!({ "Operations": [{ "op": "replace", "path": "displayName", "value": "Ada L." }] });
    let with = |method: &str, tag: &str, body: &Value| {
        let mut request = scim.request(method, &path, Some(body));
        request.headers_mut().insert("if-match", tag.parse().unwrap());
        request
    };
    let changed = scim.call(with("PATCH", &version, &rename)).await;
    let newer = changed.headers["etag"].to_str().unwrap().to_owned();
    changed.is(200);
    assert_eq!(scim.get(&path).await.headers["etag"], newer.as_str());
    let other = json!({ "Operations": [{ "op": "replace", "path": "displayName", "value": "Other" }] });
    scim.call(with("PATCH", &version, &other)).await.refused(412, "-");
    scim.call(with("PUT", &version, &json!({ "userName": "ada", "displayName": "Other" }))).await.refused(412, "-");
    scim.call(with("DELETE", "W/\"nonsense\"", &Value::Null)).await.refused(412, "-");
    assert_eq!(scim.get(&path).await.is(200)["displayName"], "Ada L.");
    scim.call(with("PATCH", "*", &other)).await.is(200);
}

#[tokio::test]
async fn c12_nobody_is_renamed_onto_somebody_else() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    scim.user("grace").await;
    let path = format!("/Users/{id}");
    scim.send("PUT", &path, json!({ "userName": "Grace" })).await.refused(409, "uniqueness");
    let rename = |name: &str| json!([{ "op": "replace", "value": { "userName": name } }]);
    scim.patch(&path, rename("grace")).await.refused(409, "uniqueness");
    // Twilio cannot change a username, so Flexgate refuses a new name. If only the case differs, Flexgate ignores the
    // change.
    scim.patch(&path, rename("ada.lovelace")).await.refused(400, "mutability");
    assert_eq!(scim.patch(&path, rename("ADA")).await.is(200)["userName"], "ada");
}

#[tokio::test]
async fn c13_what_was_deleted_is_gone() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let path = format!("/Users/{id}");
    assert_eq!(scim.delete(&path).await.is(204), Value::Null);
    scim.get(&path).await.refused(404, "-");
    scim.delete(&path).await.refused(404, "-");
    scim.patch(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await.refused(404, "-");
    assert_eq!(scim.get("/Users").await.is(200)["totalResults"], 0);
    assert_eq!(scim.get("/Users?filter=userName%20eq%20%22ada%22").await.is(200)["totalResults"], 0);
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true);
    // The same person may come back.
    assert_eq!(scim.user("ada").await, id);
    assert_eq!(scim.get(&path).await.is(200)["active"], true);
}

#[tokio::test]
async fn c15_what_is_not_supported_says_so() {
    let scim = scim().await;
    scim.send("POST", "/Bulk", json!({})).await.refused(501, "-");
    scim.get("/Me").await.refused(404, "-");
    scim.get("/NoSuchThing/at/all").await.refused(404, "-");
    scim.send("POST", "/ServiceProviderConfig", json!({})).await.refused(405, "-");
    let config = scim.get("/ServiceProviderConfig").await.is(200);
    for feature in ["bulk", "sort", "changePassword"] {
        assert_eq!(config[feature]["supported"], false, "{feature}");
    }
}

#[tokio::test]
async fn c17_the_last_administrator_stays() {
    let scim = scim_with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")]).await;
    let first = scim.world.at_twilio("first", &["admin"]).await;
    let second = scim.world.at_twilio("second", &["admin"]).await;
    scim.delete(&format!("/Users/{second}")).await.is(204);
    let path = format!("/Users/{first}");
    let log = Log::start();
    scim.delete(&path).await.refused(409, "-");
    let off = json!([{ "op": "replace", "value": { "active": false } }]);
    scim.patch(&path, off.clone()).await.refused(409, "-");
    let demote = json!([{ "op": "replace", "path": "roles", "value": [{ "value": "agent" }] }]);
    scim.patch(&path, demote).await.refused(409, "-");
    assert_eq!(
        log.audit(),
        [
            "scim_delete refused scim_last_admin",
            "scim_update refused scim_last_admin",
            "scim_update refused scim_last_admin"
        ]
    );
    assert_eq!(scim.world.twilio_user_of(&first).await.unwrap()["deactivated"], false);
    let third = scim.world.at_twilio("third", &["admin"]).await;
    scim.patch(&path, off.clone()).await.is(200);
    scim.patch(&format!("/Users/{third}"), off.clone()).await.refused(409, "-");

    let scim = scim_with(&[("FLEXGATE_SCIM_LAST_ADMIN", "allow")]).await;
    let only = scim.world.at_twilio("only", &["admin"]).await;
    scim.patch(&format!("/Users/{only}"), off).await.is(200);
}

#[tokio::test]
async fn c17_two_who_remove_the_last_two_administrators_leave_one() {
    let scim = scim().await;
    let first = scim.world.at_twilio("first", &["admin"]).await;
    let second = scim.world.at_twilio("second", &["admin"]).await;
    // The delay makes the requests overlap: the second request checks for administrators before the first has finished.
    let slow = json!({ "service": "flex-api", "path_contains": "Deprovision", "kind": "delay", "delay_ms": 500, "times": "always" });
    scim.world.fault(&slow).await;
    let (one, other) = (format!("/Users/{first}"), format!("/Users/{second}"));
    let (one, other) = tokio::join!(scim.delete(&one), scim.delete(&other));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert!(statuses == [204, 409] || statuses == [204, 503], "{statuses:?}");
    let left = [scim.world.twilio_user_of(&first).await.unwrap(), scim.world.twilio_user_of(&second).await.unwrap()];
    assert_eq!(left.iter().filter(|user| user["deactivated"] == false).count(), 1);
}

#[tokio::test]
async fn bodies_that_are_no_scim_are_refused() {
    let scim = scim().await;
    let raw = |body: &str, content_type: &str| {
        let mut request = scim.request("POST", "/Users", None);
        *request.body_mut() = Body::from(body.to_owned());
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        request
    };
    scim.call(raw("{", "application/json")).await.refused(400, "invalidSyntax");
    scim.call(raw("[]", "application/json")).await.refused(400, "invalidSyntax");
    scim.call(raw("{\"userName\":\"a\",\"userName\":\"b\"}", "application/json")).await.refused(400, "invalidSyntax");
    scim.call(raw("{}", "text/plain")).await.refused(415, "-");
    scim.call(raw(&"x".repeat(1_100_000), "application/json")).await.refused(413, "-");
    scim.call(raw("{}", "application/json")).await.refused(400, "invalidValue");
    let id = scim.user("ada").await;
    for body in [json!({}), json!({ "Operations": [] }), json!({ "Operations": [{ "op": "move", "path": "x" }] })] {
        scim.send("PATCH", &format!("/Users/{id}"), body).await.refused(400, "invalidSyntax");
    }
}
