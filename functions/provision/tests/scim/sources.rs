//! Tests SCIM together with other sources of the people ledger.

use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{Person, Said, Source, Statement};
use flexgate::domain::{EventId, Username};
use flexgate::store::{PersonKey, Written};
use flexgate::users::ledger::{Earlier, News};
use serde_json::json;

use super::common::{Refused as _, scim};

#[tokio::test]
async fn r92_whom_scim_deactivates_is_inactive_for_sign_in_and_for_minting() {
    let scim = scim().await;
    let path = format!("/Users/{}", scim.user("Ada@Example.com").await);
    let key = "ada@example.com".parse::<Username>().unwrap().key();
    let platform = scim.platform();
    let inactive = async || platform.deactivations().says_inactive(None, Some(&key)).await.unwrap();
    assert!(!inactive().await);
    for active in [false, true] {
        scim.patch(&path, json!([{ "op": "replace", "value": { "active": active } }])).await.is(200);
        assert_eq!(inactive().await, !active);
    }
    scim.delete(&path).await.is(204);
    assert!(inactive().await);
}

#[tokio::test]
async fn scim_activates_nobody_whom_another_source_holds_inactive_and_says_which() {
    let scim = scim().await;
    let path = format!("/Users/{}", scim.user("ada@example.com").await);
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    let people = scim.platform().people();
    let key = PersonKey::Username("ada@example.com".parse::<Username>().unwrap().key());
    let person: Person = people.person(&key).await.unwrap().unwrap();
    let leaves = Statement {
        active: Some(Said::access(time::OffsetDateTime::UNIX_EPOCH, &EventId::from(1), false)),
        ..Statement::default()
    };
    let stating =
        flexgate::store::Stating { source: &Source::Operator, statement: &leaves, subject: None, given: None };
    assert!(matches!(people.state(person.id, person.version, stating).await.unwrap(), Written::Yes(_)));

    let on = json!([{ "op": "replace", "value": { "active": true } }]);
    let answer = scim.patch(&path, on).await;
    assert!(answer.body["detail"].as_str().unwrap().starts_with("operator says"), "{}", answer.body);
    answer.refused(409, "-");
}

#[tokio::test]
async fn a_role_that_a_scim_group_gives_is_kept_by_another_source_until_the_group_takes_it() {
    let scim = scim().await;
    let id = scim.user("ada@example.com").await;
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Flex Supervisors",
                        "members": [{ "value": id }] });
    let group = scim.send("POST", "/Groups", group).await.is(201)["id"].as_str().unwrap().to_owned();
    let hr = Source::Webhook("hr".parse().unwrap());
    let says = async |minute: i64, roles: &[&str]| {
        let (at, cause) = (
            flexgate::base::clock_rng::Clock::now(&flexgate::base::clock_rng::SystemClock) - time::Duration::hours(1),
            EventId::from(1),
        );
        let at = at + time::Duration::minutes(minute);
        let news = News {
            source: hr.clone(),
            subject: Some("1815".parse().unwrap()),
            identity: None,
            username: Some("ada@example.com".parse().unwrap()),
            flex_user_sid: None,
            earlier: Earlier::Everything,
            statement: Statement {
                active: Some(Said::access(at, &cause, true)),
                roles: Some(Said::new(at, &cause, roles.iter().map(|&name| name.into()).collect())),
                ..Statement::default()
            },
        };
        scim.ledger().state(&news, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
        scim.world.twilio_user_of(&id).await.unwrap()["roles"].clone()
    };
    // The other source gives the role and takes it back, but the group still gives the role.
    assert_eq!(says(1, &["supervisor"]).await, json!(["agent", "supervisor"]));
    assert_eq!(says(2, &["agent"]).await, json!(["agent", "supervisor"]));
    scim.patch(&format!("/Groups/{group}"), json!([{ "op": "remove", "path": "members" }])).await.is(200);
    assert_eq!(says(3, &["agent"]).await, json!(["agent"]));
}

#[tokio::test]
async fn r92_whom_twilio_brought_back_is_shown_inactive_until_scim_activates_them() {
    let scim = scim().await;
    let path = format!("/Users/{}", scim.user("ada@example.com").await);
    let active = |on: bool| json!([{ "op": "replace", "value": { "active": on } }]);
    let sign_in = scim.platform().deactivations();
    let key = "ada@example.com".parse::<Username>().unwrap().key();
    scim.patch(&path, active(false)).await.is(200);
    // Reactivate the deactivated user in Flex, as a sign-in through Twilio's SSO does.
    scim.world.at_twilio("ada@example.com", &["agent"]).await;
    assert_eq!(scim.get(&path).await.is(200)["active"], false);
    let found = scim.get("/Users?filter=userName%20eq%20%22ada@example.com%22").await.is(200);
    assert_eq!(found["Resources"][0]["active"], false);

    assert_eq!(scim.patch(&path, active(true)).await.is(200)["active"], true);
    assert!(!sign_in.says_inactive(None, Some(&key)).await.unwrap());
    assert_eq!(scim.get(&path).await.is(200)["active"], true);
}

#[tokio::test]
async fn r92_whom_twilio_brought_back_is_deactivated_again_by_the_next_write() {
    let scim = scim().await;
    let id = scim.user("ada@example.com").await;
    let path = format!("/Users/{id}");
    scim.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    scim.world.at_twilio("ada@example.com", &["agent"]).await;
    let renamed = json!([{ "op": "replace", "path": "displayName", "value": "Augusta Ada" }]);
    assert_eq!(scim.patch(&path, renamed).await.is(200)["active"], false);
    assert_eq!(scim.world.twilio_user_of(&id).await.unwrap()["deactivated"], true);
}
