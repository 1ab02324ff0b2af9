//! Tests with data from before the people ledger existed: Flex users, and entries and groups in the SCIM store.

use flexgate::domain::{FlexUserSid, Role};
use flexgate::store::scim::{Entry, Group, GroupWritten, Member};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::common::{Scim, scim};

const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Creates a user as Flexgate stored it before the people ledger existed: in Flex, and as an entry in the SCIM store.
async fn user(scim: &Scim, name: &str, roles: &[&str], own: Value, deleted: bool) -> FlexUserSid {
    let sid: FlexUserSid = scim.world.at_twilio(name, roles).await.parse().unwrap();
    let asserted = json!({ "roles": own, "displayName": "Some One", "emails": [{ "value": "some@example.com" }] });
    let entry = Entry {
        id: sid.clone(),
        current: sid.clone(),
        username: name.parse().unwrap(),
        external_id: Some(format!("x-{name}")),
        asserted: asserted.as_object().unwrap().clone(),
        deleted,
        version: 0,
        updated_at: AT,
    };
    assert!(scim.platform().scim().put_entry(&entry, None).await.unwrap());
    sid
}

/// Creates a group as Flexgate stored it before the people ledger existed. Each membership records that the group gave
/// the role `supervisor`.
async fn group(scim: &Scim, members: &[&FlexUserSid]) -> String {
    let member =
        |user: &&FlexUserSid| Member { user: (*user).clone(), present: true, announced: Some(Role::Supervisor) };
    let group = Group {
        id: "fggrp_1".to_owned(),
        display_name: "Flex Supervisors".to_owned(),
        external_id: None,
        members: members.iter().map(member).collect(),
        version: 0,
        created_at: AT,
        updated_at: AT,
    };
    assert_eq!(scim.platform().scim().put_group(&group).await.unwrap(), GroupWritten::Yes);
    "/Groups/fggrp_1".to_owned()
}

#[tokio::test]
async fn a_membership_of_before_ends_and_takes_its_role_along() {
    let scim = scim().await;
    let ada = user(&scim, "ada", &["agent", "supervisor"], json!([]), false).await;
    let grace = user(&scim, "grace", &["agent", "supervisor"], json!([{ "value": "supervisor" }]), false).await;
    let path = group(&scim, &[&ada, &grace]).await;
    scim.patch(&path, json!([{ "op": "remove", "path": "members" }])).await.is(200);
    assert_eq!(scim.world.twilio_user_of(ada.as_str()).await.unwrap()["roles"], json!(["agent"]));
    // SCIM also gave the role to Grace directly, so she keeps it.
    assert_eq!(scim.world.twilio_user_of(grace.as_str()).await.unwrap()["roles"], json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn a_membership_of_before_that_ends_while_the_person_is_inactive_takes_its_role_along() {
    let scim = scim().await;
    let ada = user(&scim, "ada", &["agent", "supervisor"], json!([]), false).await;
    let path = group(&scim, &[&ada]).await;
    let user = format!("/Users/{ada}");
    scim.patch(&user, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    scim.patch(&path, json!([{ "op": "remove", "path": "members" }])).await.is(200);
    scim.patch(&user, json!([{ "op": "replace", "value": { "active": true } }])).await.is(200);
    assert_eq!(scim.world.twilio_user_of(ada.as_str()).await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn a_role_of_before_that_scim_gave_is_scims_to_take() {
    let scim = scim().await;
    let ada = user(&scim, "ada", &["agent", "supervisor"], json!([{ "value": "supervisor" }]), false).await;
    let path = format!("/Users/{ada}");
    assert_eq!(scim.get(&path).await.is(200)["roles"], json!([{ "value": "agent" }, { "value": "supervisor" }]));
    let only = json!([{ "op": "replace", "path": "roles", "value": [{ "value": "agent" }] }]);
    scim.patch(&path, only).await.is(200);
    assert_eq!(scim.world.twilio_user_of(ada.as_str()).await.unwrap()["roles"], json!(["agent"]));
}

#[tokio::test]
async fn whoever_was_deleted_before_stays_so_for_every_other_source() {
    let scim = scim().await;
    let ada = user(&scim, "ada", &["agent"], json!([]), true).await;
    // SCIM deleted this user, but the user is active in Flex. The ledger must still contain SCIM's statement that the
    // person is inactive.
    let platform = scim.platform();
    let key = "ada".parse::<flexgate::domain::Username>().unwrap().key();
    scim.get(&format!("/Users/{ada}")).await.is(200);
    let deadline = flexgate::base::outbound::Deadline::after(std::time::Duration::from_secs(10));
    scim.ledger().reconcile_member(&ada, None, deadline).await.unwrap().unwrap();
    assert!(platform.deactivations().says_inactive(None, Some(&key)).await.unwrap());
    assert_eq!(scim.world.twilio_user_of(ada.as_str()).await.unwrap()["deactivated"], true);
}
