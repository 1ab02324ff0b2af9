//! Tests requests that identity systems really send (cases R43, R44, R47, R48, R51, R54, R55 and R56 of the attack
//! register).

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::store::scim::Work;
use serde_json::{Value, json};

use crate::common::{Refused as _, Scim, scim};

fn encoded(filter: &str) -> String {
    url::form_urlencoded::byte_serialize(filter.as_bytes()).collect()
}

/// Creates a user with all the attributes that identity systems send. Returns the user's path.
async fn ada(scim: &Scim) -> String {
    let body = json!({
        "userName": "ada@example.com", "displayName": "Ada Lovelace",
        "name": { "formatted": "Ada Lovelace", "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@example.com", "type": "work", "primary": true }],
    });
    let made = scim.send("POST", "/Users", body).await.is(201);
    format!("/Users/{}", made["id"].as_str().unwrap())
}

async fn at_twilio(scim: &Scim, path: &str) -> Value {
    scim.world.twilio_user_of(path.trim_start_matches("/Users/")).await.unwrap()
}

#[tokio::test]
async fn r43_paths_that_flex_has_no_place_for_do_not_spoil_the_rest_of_the_request() {
    let scim = scim().await;
    let path = ada(&scim).await;
    for ignored in [
        "name.middleName",
        "name.honorificPrefix",
        "NAME.honorificSuffix",
        "urn:ietf:params:scim:schemas:core:2.0:User:name.middleName",
        "emails[type eq \"work\"].display",
        "emails.display",
        "roles[primary eq \"True\"].type",
        "roles[primary eq \"True\"].display",
        "roles.type",
        "nickName",
        "addresses[type eq \"work\"].formatted",
        "phoneNumbers[type eq \"mobile\"].value",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
        "manager",
        "manager.displayName",
        "employeeNumber",
        "costCenter",
        "Organization",
        "division",
        "department",
    ] {
        for op in ["Add", "Replace", "Remove"] {
            let operations = json!([
                { "op": op, "path": ignored, "value": "x" },
                { "op": "Replace", "path": "displayName", "value": format!("{op} {}", ignored.len()) },
            ]);
            let shown = scim.patch(&path, operations).await.is(200);
            assert_eq!(shown["displayName"], format!("{op} {}", ignored.len()), "{ignored}");
            assert_eq!(at_twilio(&scim, &path).await["email"], "ada@example.com", "{ignored}");
        }
    }
    let group = scim.send("POST", "/Groups", json!({ "displayName": "Desk" })).await.is(201);
    let group = format!("/Groups/{}", group["id"].as_str().unwrap());
    scim.patch(&group, json!([{ "op": "add", "path": "members.display", "value": "x" }])).await.is(200);
    // Flexgate must refuse an unknown path. Otherwise, a client with a misspelt path would believe that Flexgate had
    // made the change.
    for unknown in ["name.nick", "emails[type eq \"work\"].colour", "roles.colour", "colour"] {
        let refused = scim.patch(&path, json!([{ "op": "Add", "path": unknown, "value": "x" }])).await;
        refused.refused(400, "invalidPath");
    }
}

#[tokio::test]
async fn r44_a_filter_may_compare_a_sub_attribute_of_selected_values() {
    let scim = scim().await;
    let id = ada(&scim).await.trim_start_matches("/Users/").to_owned();
    scim.user("grace").await;
    for (filter, found) in [
        ("emails[type eq \"work\"].value eq \"ada@example.com\"", true),
        ("emails[type eq \"work\"].value eq \"ADA@example.com\"", true),
        ("emails[type eq \"home\"].value eq \"ada@example.com\"", false),
        ("emails[type eq \"work\"].value eq \"grace@example.com\"", false),
        ("emails[type eq \"work\" and primary eq true].value sw \"ada\"", true),
        ("emails[type eq \"work\"].value pr and userName co \"ada\"", true),
        ("not (emails[type eq \"work\"].value eq \"x\") and userName eq \"ada@example.com\"", true),
        ("(emails[type eq \"work\"].value eq \"x\" or emails[type eq \"work\"].value co \"ADA@\")", true),
        ("roles[primary eq \"True\"].value eq \"agent\"", false),
    ] {
        let list = scim.get(&format!("/Users?filter={}", encoded(filter))).await.is(200);
        let ids: Vec<_> = list["Resources"].as_array().unwrap().iter().map(|user| user["id"].clone()).collect();
        assert_eq!(ids, if found { vec![json!(id)] } else { vec![] }, "{filter}");
    }
    for malformed in [
        "emails[type eq \"work\"].value",
        "emails[type eq \"work\"]. value eq \"x\"",
        "emails[type eq \"work\"].value.value eq \"x\"",
        "emails[type eq \"work\"].value[type eq \"x\"].value eq \"x\"",
    ] {
        scim.get(&format!("/Users?filter={}", encoded(malformed))).await.refused(400, "invalidFilter");
    }
}

#[tokio::test]
async fn r47_a_key_without_a_path_may_select_values() {
    let scim = scim().await;
    let path = ada(&scim).await;
    let change = |op: &str, value: Value| json!([{ "op": op, "value": value }]);
    let shown = scim
        .patch(&path, change("Add", json!({ "emails[type eq \"work\"].value": "w@x.example", "locale": "en-GB" })))
        .await
        .is(200);
    assert_eq!(shown["emails"], json!([{ "value": "w@x.example", "type": "work", "primary": true }]));
    let shown =
        scim.patch(&path, change("Add", json!({ "roles[primary eq \"True\"].value": "supervisor" }))).await.is(200);
    assert!(shown["roles"].as_array().unwrap().iter().any(|role| role["value"] == "supervisor"), "{shown}");
    // In a `replace` without a path, a key of the operation's value may contain a filter. If the user has no e-mail
    // address that matches the filter, Flexgate adds one (RFC 7644 §3.5.2.3).
    let shown =
        scim.patch(&path, change("Replace", json!({ "emails[type eq \"home\"].value": "h@x.example" }))).await.is(200);
    assert_eq!(shown["emails"][1], json!({ "value": "h@x.example", "type": "home" }));
    let user = at_twilio(&scim, &path).await;
    assert_eq!((&user["email"], &user["locale"]), (&json!("w@x.example"), &json!("en-GB")));
    assert_eq!(user["roles"], json!(["agent", "supervisor"]));
    // A whole resource may also contain keys with a filter or a dot.
    let body = json!({
        "userName": "grace@example.com", "name.givenName": "Grace", "name.familyName": "Hopper",
        "emails[type eq \"work\"].value": "grace@work.example", "roles[primary eq \"True\"].value": "supervisor",
        "phoneNumbers[type eq \"work\"].value": "+1",
    });
    let made = scim.send("POST", "/Users", body).await.is(201);
    assert_eq!(made["emails"], json!([{ "value": "grace@work.example", "type": "work" }]));
    let user = scim.world.twilio_user_of(made["id"].as_str().unwrap()).await.unwrap();
    assert_eq!((&user["full_name"], &user["roles"]), (&json!("Grace Hopper"), &json!(["supervisor"])));
    for malformed in ["emails[type eq \"work\".value", "emails["] {
        scim.patch(&path, change("Add", json!({ malformed: "x" }))).await.refused(400, "invalidPath");
    }
}

#[tokio::test]
async fn r48_a_role_may_come_as_a_json_text() {
    let scim = scim().await;
    let path = ada(&scim).await;
    let text = |role: &str| json!({ "id": "18d1", "value": role, "displayName": "The role" }).to_string();
    for value in [
        json!([{ "value": text("supervisor") }]),
        json!([text("supervisor")]),
        json!({ "value": text("Supervisor"), "primary": "True", "type": "WindowsAzureActiveDirectoryRole" }),
    ] {
        let shown = scim.patch(&path, json!([{ "op": "Replace", "path": "roles", "value": value }])).await.is(200);
        let names: Vec<_> = shown["roles"].as_array().unwrap().iter().map(|role| role["value"].clone()).collect();
        assert_eq!(names, ["supervisor"], "{value}");
        assert_eq!(at_twilio(&scim, &path).await["roles"], json!(["supervisor"]), "{value}");
        scim.patch(&path, json!([{ "op": "Replace", "path": "roles", "value": ["agent"] }])).await.is(200);
    }
    let by_path = json!([{ "op": "Add", "path": "roles[primary eq \"True\"].value", "value": text("supervisor") }]);
    scim.patch(&path, by_path).await.is(200);
    assert_eq!(at_twilio(&scim, &path).await["roles"], json!(["agent", "supervisor"]));
    let remove = json!([{ "op": "Remove", "path": "roles", "value": [{ "value": text("supervisor") }] }]);
    scim.patch(&path, remove).await.is(200);
    assert_eq!(at_twilio(&scim, &path).await["roles"], json!(["agent"]));
    // Flexgate refuses a string that looks like JSON, unless the JSON is an object that names a role. The error does
    // not quote the string.
    for text in ["{\"id\":\"18d1\"}", "{\"value\":7}", "{", "[\"agent\"]"] {
        let refused = scim.patch(&path, json!([{ "op": "Add", "path": "roles", "value": [{ "value": text }] }])).await;
        assert!(!refused.text.contains("18d1"), "{}", refused.text);
        refused.refused(400, "invalidValue");
    }
}

#[tokio::test]
async fn r51_the_full_name_follows_the_part_of_the_name_that_a_patch_changes() {
    let scim = scim().await;
    let set = |path: &str, value: &str| json!({ "op": "replace", "path": path, "value": value });
    for (operations, full) in [
        (vec![set("name.familyName", "King")], "Ada King"),
        (vec![set("name.givenName", "Augusta")], "Augusta Lovelace"),
        (vec![set("name.givenName", "Augusta"), set("name.familyName", "King")], "Augusta King"),
        (vec![set("name.formatted", "Countess Lovelace")], "Countess Lovelace"),
        (vec![set("displayName", "Ada K.")], "Ada K."),
        (vec![set("name.familyName", "King"), set("displayName", "Ada K.")], "Ada K."),
        (vec![set("displayName", "Ada Lovelace"), set("name.familyName", "King")], "Ada Lovelace"),
        (vec![json!({ "op": "replace", "value": { "name": { "familyName": "King" } } })], "Ada King"),
        (vec![json!({ "op": "add", "value": { "name.familyName": "King" } })], "Ada King"),
        (
            vec![json!({ "op": "replace", "path": "name", "value": { "givenName": "A.", "familyName": "King" } })],
            "A. King",
        ),
        (vec![json!({ "op": "remove", "path": "name.givenName" })], "Lovelace"),
    ] {
        let path = ada(&scim).await;
        let shown = scim.patch(&path, json!(operations)).await.is(200);
        assert_eq!(at_twilio(&scim, &path).await["full_name"], full, "{operations:?}");
        assert_eq!(shown["displayName"], full, "{operations:?}");
        assert_eq!(scim.get(&path).await.is(200)["displayName"], full, "{operations:?}");
        scim.delete(&path).await;
    }
}

#[tokio::test]
async fn r51_it_follows_for_a_user_whom_scim_did_not_make() {
    let scim = scim().await;
    let path = format!("/Users/{}", scim.world.at_twilio("lin", &["agent"]).await);
    let before = scim.get(&path).await.is(200);
    scim.patch(&path, json!([{ "op": "Replace", "path": "name.familyName", "value": "Torvalds" }])).await.is(200);
    let given = before["name"]["givenName"].as_str().unwrap();
    assert_eq!(at_twilio(&scim, &path).await["full_name"], format!("{given} Torvalds"));
}

#[tokio::test]
async fn r54_composed_and_decomposed_spellings_are_one_name() {
    let scim = scim().await;
    let (composed, decomposed) = ("Jos\u{e9}@example.com", "JOSE\u{301}@example.com");
    let body = |name: &str| json!({ "userName": name, "displayName": "J", "emails": [{ "value": "j@example.com" }] });
    let made = scim.send("POST", "/Users", body(composed)).await.is(201);
    scim.send("POST", "/Users", body(decomposed)).await.refused(409, "uniqueness");
    for name in [composed, decomposed] {
        let list = scim.get(&format!("/Users?filter={}", encoded(&format!("userName eq \"{name}\"")))).await.is(200);
        assert_eq!(list["Resources"][0]["id"], made["id"], "{name:?}");
    }
    // The same username in another Unicode form does not count as a new username.
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    scim.send("PUT", &path, body(decomposed)).await.is(200);
    scim.send("POST", "/Groups", json!({ "displayName": "Caf\u{e9}" })).await.is(201);
    scim.send("POST", "/Groups", json!({ "displayName": "CAFE\u{301}" })).await.refused(409, "uniqueness");
}

#[tokio::test]
async fn r55_a_rename_is_refused_with_the_setting_that_prevents_it() {
    let scim = scim().await;
    let path = ada(&scim).await;
    let rename = scim.patch(&path, json!([{ "op": "replace", "path": "userName", "value": "king@example.com" }])).await;
    let detail = rename.body["detail"].as_str().unwrap().to_owned();
    rename.refused(400, "mutability");
    for said in ["Okta", "Create only", "Entra", "Only during object creation", "docs/scim.md"] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
}

#[tokio::test]
async fn r56_after_a_crash_the_answer_names_the_true_wait() {
    let scim = scim().await;
    let (store, now) = (scim.platform().scim(), SystemClock.now());
    // Another process has begun to create the user, and has died before it finished.
    let work = Work { name: "user:ada".to_owned(), holder: 7 };
    store.begin(&work, now, now + time::Duration::seconds(4)).await.unwrap();
    let body = json!({ "userName": "ada", "displayName": "Ada", "emails": [{ "value": "ada@example.com" }] });
    let refused = scim.send("POST", "/Users", body.clone()).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3..=5).contains(&wait), "{wait}");
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    scim.send("POST", "/Users", body).await.is(201);
}

#[tokio::test]
async fn a_character_that_nobody_sees_is_named_with_its_position() {
    let scim = scim().await;
    let body = |user: &str, name: &str| json!({ "userName": user, "displayName": name, "emails": [{ "value": "a@example.com" }] });
    let refused = scim.send("POST", "/Users", body("ada", "Ada \u{202e}Lovelace")).await;
    assert_eq!(
        refused.body["detail"],
        "displayName must not contain the character U+202E RIGHT-TO-LEFT OVERRIDE (position 5)."
    );
    refused.refused(400, "invalidValue");
    scim.send("POST", "/Users", body("a\u{200d}da", "Ada")).await.refused(400, "invalidValue");
    let group = scim.send("POST", "/Groups", json!({ "displayName": "Fl\u{2066}ex" })).await;
    assert!(group.text.contains("U+2066"), "{}", group.text);
    // Persian and Indian names may need the invisible characters U+200C and U+200D (zero-width non-joiner and joiner),
    // so Flexgate allows these two in a full name.
    let name = "\u{645}\u{6cc}\u{631}\u{632}\u{627}\u{200c}\u{6cc}\u{6cc}";
    let made = scim.send("POST", "/Users", body("mirza", name)).await.is(201);
    assert_eq!(scim.world.twilio_user_of(made["id"].as_str().unwrap()).await.unwrap()["full_name"], name);
}

#[tokio::test]
async fn times_have_milliseconds_and_move_with_every_write() {
    let scim = scim().await;
    let path = ada(&scim).await;
    let stamp = async || {
        let meta = scim.get(&path).await.is(200)["meta"].clone();
        for name in ["created", "lastModified"] {
            let text = meta[name].as_str().unwrap();
            assert_eq!((text.len(), &text[19..20], &text[23..]), (24, ".", "Z"), "{text}");
        }
        meta["lastModified"].as_str().unwrap().to_owned()
    };
    let first = stamp().await;
    assert_eq!(stamp().await, first, "a read changes nothing");
    scim.patch(&path, json!([{ "op": "replace", "path": "externalId", "value": "1" }])).await.is(200);
    assert!(stamp().await > first);
    let group = scim.send("POST", "/Groups", json!({ "displayName": "Desk" })).await.is(201);
    assert_eq!(group["meta"]["created"].as_str().unwrap().len(), 24);
}

#[tokio::test]
async fn a_refused_request_is_noted_with_what_the_client_was_told() {
    let scim = scim().await;
    let path = ada(&scim).await;
    let body = json!({ "externalId": "00u7", "userName": "ada@example.com", "displayName": "Secret Name" });
    scim.send("POST", "/Users", body.clone()).await.refused(409, "uniqueness");
    scim.send("POST", "/Users", body).await.refused(409, "uniqueness");
    scim.patch(&path, json!([{ "op": "add", "path": "colour", "value": "red" }])).await.refused(400, "invalidPath");
    let mut stranger = scim.request("GET", "/Users", None);
    stranger.headers_mut().remove("authorization");
    assert_eq!(scim.call(stranger).await.status, 401);
    scim.get(&path).await.is(200);
    let notes = scim.platform().notes().notes(SystemClock.now()).await.unwrap();
    let mut facts: Vec<_> = notes
        .iter()
        .map(|note| (&*note.route, &*note.source, &*note.code, note.external_id.as_deref(), note.times))
        .collect();
    facts.sort_unstable();
    assert_eq!(
        facts,
        [
            ("GET /scim/v2/Users", "scim", "token_invalid", None, 1),
            ("PATCH /scim/v2/Users/{id}", "scim:test", "scim_invalid_path", None, 1),
            ("POST /scim/v2/Users", "scim:test", "scim_uniqueness", Some("00u7"), 2),
        ]
    );
    assert!(notes.iter().any(|note| &*note.reason == "Another user has this userName."));
    assert!(!format!("{notes:?}").contains("Secret Name") && !format!("{notes:?}").contains("ada@"));
    // If Flexgate cannot store a note about a refused request, the client still gets the same answer.
    scim.break_table("notes");
    scim.get("/Users/nobody").await.refused(404, "-");
}

#[tokio::test]
async fn r47_unknown_and_read_only_keys_that_select_values_are_ignored_like_plain_ones() {
    let scim = scim().await;
    let body = json!({
        "userName": "ada@example.com", "displayName": "Ada", "colours[type eq \"work\"].value": "red",
        "groups[value eq \"x\"].display": "y", "shoeSize": 9,
        "urn:flexgate:params:scim:schemas:extension:flex:2.0:User": { "language": "en", "emails[type eq \"x\"].value": "y" },
    });
    let made = scim.send("POST", "/Users", body).await.is(201);
    assert_eq!(made["emails"][0]["value"], "ada@example.com");
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    let change = json!({ "colours[type eq \"work\"].value": "red", "displayName": "Ada King" });
    let shown = scim.patch(&path, json!([{ "op": "add", "value": change }])).await.is(200);
    assert_eq!(shown["displayName"], "Ada King");
}

#[tokio::test]
async fn r51_half_a_name_replaces_no_full_name() {
    let scim = scim().await;
    let body = json!({ "userName": "ada", "displayName": "Ada Lovelace", "emails": [{ "value": "ada@example.com" }] });
    let made = scim.send("POST", "/Users", body).await.is(201);
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    scim.patch(&path, json!([{ "op": "replace", "path": "name.givenName", "value": "Ada" }])).await.is(200);
    assert_eq!(at_twilio(&scim, &path).await["full_name"], "Ada Lovelace");
    scim.patch(&path, json!([{ "op": "replace", "path": "name.familyName", "value": "King" }])).await.is(200);
    assert_eq!(at_twilio(&scim, &path).await["full_name"], "Ada King");
    // Without `name.formatted`, the full name comes from the given and family name.
    scim.patch(&path, json!([{ "op": "add", "path": "name.formatted", "value": "Countess King" }])).await.is(200);
    let operations = json!([
        { "op": "remove", "path": "name.formatted" },
        { "op": "replace", "path": "name.familyName", "value": "Byron" },
    ]);
    scim.patch(&path, operations).await.is(200);
    assert_eq!(at_twilio(&scim, &path).await["full_name"], "Ada Byron");
}

#[tokio::test]
async fn nobody_can_fill_the_notes() {
    let scim = scim().await;
    for number in 0..40 {
        let mut stranger = scim.request(&format!("X{number}"), "/Users", None);
        stranger.headers_mut().remove("authorization");
        assert!(scim.call(stranger).await.status.is_client_error());
    }
    let body = json!({ "externalId": "ada@example.com", "userName": "ada", "active": "maybe" });
    scim.send("POST", "/Users", body).await.refused(400, "invalidValue");
    let notes = scim.platform().notes().notes(SystemClock.now()).await.unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().all(|note| note.times == 1), "strangers cause one write a minute: {notes:?}");
    assert!(notes.iter().all(|note| note.external_id.is_none()), "an e-mail address is personal data");
}

#[tokio::test]
async fn long_lists_are_refused_or_cost_no_more_than_they_must() {
    let scim = scim().await;
    let path = ada(&scim).await;
    let emails = |from: usize, count: usize| -> Value {
        (from..from + count).map(|n| json!({ "value": format!("a{n}@example.com"), "primary": true })).collect()
    };
    let add = |from, count| json!([{ "op": "add", "path": "emails", "value": emails(from, count) }]);
    scim.patch(&path, add(0, 101)).await.refused(400, "invalidValue");
    scim.patch(&path, add(0, 90)).await.is(200);
    scim.patch(&path, add(200, 20)).await.refused(400, "invalidValue");

    let members: Vec<Value> = (0..8_000).map(|n| json!({ "value": format!("FU{n:032}") })).collect();
    let made = scim.send("POST", "/Groups", json!({ "displayName": "Desk", "members": members })).await.is(201);
    let group = format!("/Groups/{}", made["id"].as_str().unwrap());
    let named = |n: usize| {
        let terms: Vec<_> = (n * 150..n * 150 + 150).map(|n| format!("value eq \"FU{n:032}\"")).collect();
        json!({ "op": "remove", "path": format!("members[{}]", terms.join(" or ")) })
    };
    let removals: Vec<Value> = (0..50).map(named).collect();
    let shown = scim.patch(&group, json!(removals)).await.is(200);
    assert_eq!(shown["members"].as_array().unwrap().len(), 8_000 - 50 * 150);
}
