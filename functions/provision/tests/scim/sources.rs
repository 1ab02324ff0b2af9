//! SCIM beside the other sources of the people ledger.

use flexgate::domain::ledger::{Person, Said, Source, Statement};
use flexgate::domain::{EventId, Username};
use flexgate::store::{PersonKey, Written};
use serde_json::json;

use super::common::world;

#[tokio::test]
async fn r92_whom_scim_deactivates_is_inactive_for_sign_in_and_for_minting() {
    let world = world().await;
    let path = format!("/Users/{}", world.user("Ada@Example.com").await);
    let key = "ada@example.com".parse::<Username>().unwrap().key();
    let platform = world.platform();
    let inactive = async || platform.deactivations().says_inactive(None, Some(&key)).await.unwrap();
    assert!(!inactive().await);
    for active in [false, true] {
        world.patch(&path, json!([{ "op": "replace", "value": { "active": active } }])).await.is(200);
        assert_eq!(inactive().await, !active);
    }
    world.delete(&path).await.is(204);
    assert!(inactive().await);
}

#[tokio::test]
async fn scim_activates_nobody_whom_another_source_holds_inactive_and_says_which() {
    let world = world().await;
    let path = format!("/Users/{}", world.user("ada@example.com").await);
    world.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await.is(200);
    let people = world.platform().people();
    let key = PersonKey::Username("ada@example.com".parse::<Username>().unwrap().key());
    let person: Person = people.person(&key).await.unwrap().unwrap();
    let leaves = Statement {
        active: Some(Said::access(time::OffsetDateTime::UNIX_EPOCH, &EventId::from(1), false)),
        ..Statement::default()
    };
    let stating = flexgate::store::Stating { source: &Source::Operator, statement: &leaves, subject: None };
    assert!(matches!(people.state(person.id, person.version, stating).await.unwrap(), Written::Yes(_)));

    let on = json!([{ "op": "replace", "value": { "active": true } }]);
    let refused = world.patch(&path, on).await;
    assert!(refused.body["detail"].as_str().unwrap().starts_with("operator says"), "{}", refused.body);
    refused.refused(409, "-");
}
