//! Tests SCIM together with the people ledger, which stores what each source says about a person, and who gave a role
//! (cases R40, R42 and R70 of the attack register).

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::base::outbound::Deadline;
use flexgate::domain::EventId;
use flexgate::domain::ledger::{Said, Statement};
use flexgate::users::ledger::{Earlier, LedgerError, News};
use flexgate_test_support::Log;
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Refused as _, Scim, scim, scim_with};

const SUPERVISORS: &str = "Flex Supervisors";

fn active(on: bool) -> Value {
    json!([{ "op": "replace", "path": "active", "value": on }])
}

async fn group(scim: &Scim, members: &[&str]) -> String {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    let group = scim.send("POST", "/Groups", json!({ "displayName": SUPERVISORS, "members": members })).await.is(201);
    format!("/Groups/{}", group["id"].as_str().unwrap())
}

fn leaves(id: &str) -> Value {
    json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])
}

fn joins(id: &str) -> Value {
    json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])
}

async fn roles(scim: &Scim, id: &str) -> Value {
    scim.world.twilio_user_of(id).await.unwrap()["roles"].clone()
}

/// Writes another source's statement about the user to the ledger.
async fn says(scim: &Scim, source: &str, username: &str, on: bool, names: &[&str]) -> Result<(), LedgerError> {
    let (at, id) = (SystemClock.now(), EventId::from(7));
    let statement = Statement {
        active: Some(Said::access(at, &id, on)),
        roles: Some(Said::new(at, &id, names.iter().map(|&name| name.into()).collect())),
        ..Statement::default()
    };
    let news = News {
        source: source.parse().unwrap(),
        subject: source.starts_with("webhook").then(|| "1815".parse().unwrap()),
        identity: None,
        username: Some(username.parse().unwrap()),
        flex_user_sid: None,
        statement,
        earlier: Earlier::Everything,
    };
    let deadline = Deadline::after(std::time::Duration::from_secs(10));
    scim.ledger().state(&news, deadline).await.map(drop)
}

#[tokio::test]
async fn r40_a_role_of_a_group_that_was_left_while_inactive_does_not_come_back() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let (user, group) = (format!("/Users/{id}"), group(&scim, &[&id]).await);
    assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]));
    scim.patch(&user, active(false)).await.is(200);
    scim.patch(&group, leaves(&id)).await.is(200);
    scim.patch(&user, active(true)).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
}

#[tokio::test]
async fn r40_so_it_is_for_a_group_that_is_deleted_renamed_or_replaced_and_for_a_user_deleted() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let user = format!("/Users/{id}");
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "Retired" }]);
    for way in ["delete", "rename", "replace", "user"] {
        let group = group(&scim, &[&id]).await;
        assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]), "{way}");
        if way == "user" {
            scim.delete(&user).await.is(204);
            // Deleting the user ended the membership.
            assert_eq!(scim.get(&group).await.is(200)["members"], json!([]));
            assert_eq!(scim.user("ada").await, id);
        } else {
            scim.patch(&user, active(false)).await.is(200);
            match way {
                "delete" => drop(scim.delete(&group).await.is(204)),
                "rename" => drop(scim.patch(&group, rename.clone()).await.is(200)),
                _ => drop(scim.send("PUT", &group, json!({ "displayName": SUPERVISORS })).await.is(200)),
            }
            scim.patch(&user, active(true)).await.is(200);
        }
        assert_eq!(roles(&scim, &id).await, json!(["agent"]), "{way}");
        scim.delete(&group).await;
    }
}

#[tokio::test]
async fn r40_a_role_of_a_group_that_was_joined_while_inactive_comes_with_the_reactivation() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    scim.patch(&format!("/Users/{id}"), active(false)).await.is(200);
    group(&scim, &[&id]).await;
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true);
    scim.patch(&format!("/Users/{id}"), active(true)).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn r42_whoever_says_inactive_is_heard_whatever_else_is_wrong() {
    let scim = scim().await;
    scim.user("grace").await;
    let wrong = [
        (json!({ "op": "replace", "path": "userName", "value": "somebody.else" }), "mutability"),
        (json!({ "op": "replace", "path": "userName", "value": "grace" }), "uniqueness"),
        (json!({ "op": "replace", "path": "shoeSize", "value": 9 }), "invalidPath"),
        (json!({ "op": "replace", "path": "emails", "value": [{ "value": "not an address" }] }), "invalidValue"),
        (json!({ "op": "add", "path": "roles", "value": [{ "value": "owner" }] }), "invalidValue"),
        (json!({ "op": "add", "path": "roles", "value": [{ "value": "admin" }] }), "-"),
        (json!({ "op": "move", "path": "x" }), "invalidSyntax"),
        (json!({ "op": "replace", "path": "locale", "value": "no locale!" }), "invalidValue"),
    ];
    let off = [
        json!({ "op": "replace", "path": "active", "value": "False" }),
        json!({ "op": "Replace", "value": { "ACTIVE": false } }),
        json!({ "op": "add", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false }),
    ];
    for (number, (wrong, scim_type)) in wrong.into_iter().enumerate() {
        let id = scim.user(&format!("user{number}")).await;
        let path = format!("/Users/{id}");
        let off = off[number % off.len()].clone();
        // The invalid operation comes before the deactivation in half of the cases, and after it in the others.
        let operations = if number % 2 == 0 { json!([wrong, off]) } else { json!([off, wrong]) };
        let answer = scim.patch(&path, operations).await;
        let detail = answer.body["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("The user was deactivated. The rest of the request was refused: "), "{detail}");
        answer.refused(
            if scim_type == "-" {
                403
            } else if scim_type == "uniqueness" {
                409
            } else {
                400
            },
            scim_type,
        );
        assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true, "{wrong}");
        assert_eq!(scim.get(&path).await.is(200)["active"], false);
    }
}

#[tokio::test]
async fn r42_so_is_whoever_replaces_the_user() {
    let scim = scim().await;
    let wrong = [
        json!({ "userName": "renamed" }),
        json!({}),
        json!({ "userName": "NAME", "emails": [{ "value": "nothing" }] }),
        json!({ "userName": "NAME", "displayName": 7 }),
        json!({ "userName": "NAME", "roles": [{ "value": "admin" }] }),
    ];
    for (number, mut body) in wrong.into_iter().enumerate() {
        let name = format!("user{number}");
        let id = scim.user(&name).await;
        if body["userName"] == "NAME" {
            body["userName"] = name.into();
        }
        body["active"] = false.into();
        let answer = scim.send("PUT", &format!("/Users/{id}"), body.clone()).await;
        assert!(answer.status.is_client_error(), "{body}: {}", answer.body);
        assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true, "{body}");
    }
}

#[tokio::test]
async fn r42_but_a_stale_version_and_the_last_administrator_are_refused_whole() {
    let scim = scim_with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")]).await;
    let id = scim.world.at_twilio("first", &["admin"]).await;
    let path = format!("/Users/{id}");
    let both = json!([{ "op": "replace", "path": "active", "value": false },
                      { "op": "replace", "path": "displayName", "value": "New" }]);
    scim.patch(&path, both.clone()).await.refused(409, "-");
    let twilio = scim.world.twilio_user_of(&id).await.unwrap();
    assert_eq!((&twilio["deactivated"], &twilio["full_name"]), (&json!(false), &json!("first Example")));
    let mut stale = scim.request("PATCH", &path, Some(&json!({ "Operations": both })));
    stale.headers_mut().insert("if-match", "W/\"other\"".parse().unwrap());
    scim.call(stale).await.refused(412, "-");
}

#[tokio::test]
async fn r70_a_role_that_flexgate_cannot_give_survives_what_scim_writes() {
    let scim = scim().await;
    let seed = json!({ "count": 1, "prefix": "ada", "roles": ["agent", "wfo.full_access"] });
    scim.world.ask(Method::POST, "/__sim/users", &seed).await;
    let found = scim.get("/Users?filter=userName%20eq%20%22ada000000%22").await.is(200);
    let id = found["Resources"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/Users/{id}");
    let email =
        json!([{ "op": "replace", "path": "emails", "value": [{ "value": "new@example.com", "primary": true }] }]);
    scim.patch(&path, email).await.is(200);
    let twilio = scim.world.twilio_user_of(&id).await.unwrap();
    assert_eq!(twilio["email"], "new@example.com");
    assert_eq!(twilio["roles"], json!(["agent", "wfo.full_access"]));
    // To change the full name, Flexgate must also send all roles of the user, but it cannot send `wfo.full_access`. The
    // user would lose this role. So Flexgate refuses the change, and the error names the field.
    let name = json!([{ "op": "replace", "path": "displayName", "value": "Augusta Ada" }]);
    let refused = scim.patch(&path, name).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("full_name"), "{}", refused.body);
    refused.refused(400, "invalidValue");
    let roles_too = json!([{ "op": "replace", "path": "roles", "value": [{ "value": "supervisor" }] }]);
    // The first request stores its statement in the ledger, but Flexgate still refuses it, because it cannot change the
    // roles in Flex. Flexgate must also refuse the repeated request, which adds nothing to the ledger.
    for _ in 0..2 {
        let refused = scim.patch(&path, roles_too.clone()).await;
        assert!(refused.body["detail"].as_str().unwrap().contains("roles"), "{}", refused.body);
        refused.refused(400, "invalidValue");
    }
    scim.patch(&path, json!([{ "op": "replace", "path": "active", "value": true }])).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent", "wfo.full_access"]));
}

#[tokio::test]
async fn a_put_that_repeats_the_roles_it_was_shown_gives_none_of_them() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let (path, group) = (format!("/Users/{id}"), group(&scim, &[&id]).await);
    says(&scim, "webhook:hr", "ada", true, &["agent"]).await.unwrap();
    let shown = scim.get(&path).await.is(200);
    assert_eq!(shown["roles"], json!([{ "value": "agent" }, { "value": "supervisor" }]));
    let mut body = shown.clone();
    body["displayName"] = "Ada L.".into();
    scim.send("PUT", &path, body.clone()).await.is(200);
    scim.patch(&group, leaves(&id)).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
    // The client read this body before Flexgate took the role back. The body must not give the role again.
    body["displayName"] = "Ada Lovelace".into();
    scim.send("PUT", &path, body).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
    // A PATCH that explicitly adds the role does give it.
    let add = json!([{ "op": "add", "path": "roles", "value": [{ "value": "supervisor" }] }]);
    scim.patch(&path, add).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn a_patch_that_names_a_role_gives_the_role_even_if_a_group_gives_it_already() {
    let scim = scim().await;
    for (name, op) in [("ada", "add"), ("grace", "replace")] {
        let id = scim.user(name).await;
        let group = group(&scim, &[&id]).await;
        let value = json!([{ "value": "agent" }, { "value": "supervisor" }]);
        scim.patch(&format!("/Users/{id}"), json!([{ "op": op, "path": "roles", "value": value }])).await.is(200);
        scim.delete(&group).await.is(204);
        assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]), "{op}");
    }
}

#[tokio::test]
async fn a_patch_of_something_else_states_no_role_that_a_group_gives() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let group = group(&scim, &[&id]).await;
    for (path, value) in [("displayName", json!("Ada L")), ("active", json!(true))] {
        scim.patch(&format!("/Users/{id}"), json!([{ "op": "replace", "path": path, "value": value }])).await.is(200);
    }
    scim.delete(&group).await.is(204);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
}

#[tokio::test]
async fn a_put_with_the_role_of_a_group_that_is_being_left_does_not_keep_the_role() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let (user, group) = (format!("/Users/{id}"), group(&scim, &[&id]).await);
    let read = scim.get(&user).await.is(200);
    assert_eq!(read["roles"].as_array().unwrap().len(), 2);
    // The request stores the group's change, and then fails before the person's role is changed.
    scim.break_table("people");
    scim.patch(&group, leaves(&id)).await.refused(503, "-");
    scim.mend_table();
    scim.send("PUT", &user, read).await.is(200);
    scim.patch(&group, leaves(&id)).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
}

#[tokio::test]
async fn a_role_that_another_source_gives_is_not_scims_to_take_and_one_made_by_hand_is() {
    let scim = scim().await;
    let id = scim.world.at_twilio("ada", &["agent", "supervisor"]).await;
    let path = format!("/Users/{id}");
    let only = |role: &str| json!([{ "op": "replace", "path": "roles", "value": [{ "value": role }] }]);
    let shown = scim.patch(&path, only("agent")).await.is(200);
    assert_eq!(shown["roles"], json!([{ "value": "agent" }]));
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));

    says(&scim, "webhook:hr", "ada", true, &["supervisor"]).await.unwrap();
    let shown = scim.patch(&path, only("agent")).await.is(200);
    assert_eq!(shown["roles"], json!([{ "value": "agent" }, { "value": "supervisor" }]), "GET shows the union");
    assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn whoever_comes_back_under_another_key_is_somebody_else() {
    let scim = scim().await;
    let body = |key: &str| {
        json!({ "userName": "ada@example.com", "externalId": key, "displayName": "Ada",
                "emails": [{ "value": "ada@example.com" }] })
    };
    let made = scim.send("POST", "/Users", body("x-1")).await.is(201);
    let id = made["id"].as_str().unwrap().to_owned();
    // The role comes from another source, and somebody also gave it by hand in Flex. Later, the other source makes the
    // person inactive.
    says(&scim, "webhook:hr", "ada@example.com", true, &["supervisor"]).await.unwrap();
    scim.world.at_twilio("ada@example.com", &["agent", "supervisor"]).await;
    scim.delete(&format!("/Users/{id}")).await.is(204);
    says(&scim, "webhook:hr", "ada@example.com", false, &["supervisor"]).await.unwrap();

    // The same `externalId` means the same person. So the other source's statement still makes the person inactive.
    scim.send("POST", "/Users", body("x-1")).await.refused(409, "-");
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true);
    // A different `externalId` means a different person, so nothing that Flexgate knows about the earlier person
    // applies.
    let made = scim.send("POST", "/Users", body("x-2")).await.is(201);
    assert_eq!(made["roles"], json!([{ "value": "agent" }]));
    let twilio = scim.world.twilio_user_of(made["id"].as_str().unwrap()).await.unwrap();
    assert_eq!((&twilio["deactivated"], &twilio["roles"]), (&json!(false), &json!(["agent"])));
}

#[tokio::test]
async fn a_user_who_is_created_again_begins_with_the_defaults() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    scim.world.at_twilio("ada", &["agent", "supervisor"]).await;
    scim.delete(&format!("/Users/{id}")).await.is(204);
    assert_eq!(scim.user("ada").await, id);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
}

/// Stores the deleted user as a member of the group. In production, this happens if a request to change the group reads
/// the user before the deletion and writes the group after it.
fn adds_late(scim: &Scim, group: &str, user: &str) {
    let group = group.trim_start_matches("/Groups/");
    scim.world.sql(&format!("INSERT INTO scim_members VALUES ('{group}', '{user}', 1, NULL)"));
}

#[tokio::test]
async fn a_user_who_is_created_again_is_in_no_group_that_a_late_write_added() {
    let scim = scim().await;
    let (id, group) = (scim.user("ada").await, group(&scim, &[]).await);
    scim.delete(&format!("/Users/{id}")).await.is(204);
    adds_late(&scim, &group, &id);
    assert_eq!(scim.user("ada").await, id);
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
    assert_eq!(scim.get(&group).await.is(200)["members"], json!([]));
}

#[tokio::test]
async fn a_write_to_a_group_removes_a_member_who_was_deleted_meanwhile() {
    let scim = scim().await;
    let (id, other, group) = (scim.user("ada").await, scim.user("grace").await, group(&scim, &[]).await);
    scim.delete(&format!("/Users/{id}")).await.is(204);
    adds_late(&scim, &group, &id);
    let members = scim.patch(&group, joins(&other)).await.is(200)["members"].clone();
    assert_eq!((members.as_array().unwrap().len(), &members[0]["value"]), (1, &json!(other)));
}

#[tokio::test]
async fn r71_a_group_does_not_lose_the_last_administrator_and_stays_as_it_was() {
    let scim = scim_with(&[("FLEXGATE_ALLOWED_ROLES", "agent,supervisor,admin")]).await;
    let (ada, grace) = (scim.user("ada").await, scim.user("grace").await);
    let members = json!([{ "value": ada }, { "value": grace }]);
    let made = scim.send("POST", "/Groups", json!({ "displayName": "Flex Admins", "members": members })).await.is(201);
    let path = format!("/Groups/{}", made["id"].as_str().unwrap());
    scim.patch(&path, leaves(&grace)).await.is(200);
    let log = Log::start();
    scim.patch(&path, leaves(&ada)).await.refused(409, "-");
    scim.patch(&path, json!([{ "op": "replace", "path": "displayName", "value": "Others" }])).await.refused(409, "-");
    scim.send("PUT", &path, json!({ "displayName": "Flex Admins" })).await.refused(409, "-");
    scim.delete(&path).await.refused(409, "-");
    assert_eq!(log.audit().len(), 4);
    let shown = scim.get(&path).await.is(200);
    assert_eq!(shown["members"][0]["value"], json!(ada), "a refused change leaves nothing behind");
    assert_eq!(roles(&scim, &ada).await, json!(["agent", "admin"]));
    // The two members are the only administrators, so removing both is refused.
    scim.patch(&path, joins(&grace)).await.is(200);
    scim.patch(&path, json!([{ "op": "remove", "path": "members" }])).await.refused(409, "-");
    scim.world.at_twilio("other", &["admin"]).await;
    scim.patch(&path, json!([{ "op": "remove", "path": "members" }])).await.is(200);
    assert_eq!((roles(&scim, &ada).await, roles(&scim, &grace).await), (json!(["agent"]), json!(["agent"])));
}

#[tokio::test]
async fn what_was_said_is_shown_before_flex_has_caught_up() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    let fault = json!({ "service": "flex-api", "method": "POST", "path_contains": "Provision", "kind": "status",
                        "status": 503, "body": {}, "times": "always" });
    scim.world.fault(&fault).await;
    let add = json!([{ "op": "add", "path": "roles", "value": [{ "value": "supervisor" }] }]);
    scim.patch(&format!("/Users/{id}"), add.clone()).await.refused(503, "-");
    let shown = scim.get(&format!("/Users/{id}")).await.is(200);
    assert_eq!(shown["roles"], json!([{ "value": "agent" }, { "value": "supervisor" }]));
    assert_eq!(roles(&scim, &id).await, json!(["agent"]));
    scim.world.no_faults().await;
    // SCIM already shows the new role, but the retry must still update Flex.
    scim.patch(&format!("/Users/{id}"), add).await.is(200);
    assert_eq!(roles(&scim, &id).await, json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn an_operators_deactivation_holds_until_an_operator_lifts_it() {
    let scim = scim().await;
    let id = scim.user("ada").await;
    says(&scim, "operator", "ada", false, &[]).await.unwrap();
    assert_eq!(scim.get(&format!("/Users/{id}")).await.is(200)["active"], false);
    scim.patch(&format!("/Users/{id}"), active(true)).await.refused(409, "-");
    scim.delete(&format!("/Users/{id}")).await.is(204);
    let body = json!({ "userName": "ada", "emails": ["ada@example.com"] });
    scim.send("POST", "/Users", body).await.refused(409, "-");
    says(&scim, "operator", "ada", true, &[]).await.unwrap_err();
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true, "SCIM said so, too");
}
