//! Replays the provisioning cycles in the documentation of identity systems: create, update, deactivate and reactivate
//! a user, push a group, remove the group.
//!
//! A fixture is a list of steps. `save` gives a name to a value of the response, and later steps use the value as
//! `${name}`. `expect` contains the expected status. It also contains the expected values of the response and of the
//! Flex user, by JSON pointer (`null` means absent). The Flex user is the one whose SID was saved as `id`.

use serde_json::{Map, Value, json};

use crate::common::{Scim, scim_with};

async fn play(fixture: &str) {
    let steps: Value = serde_json::from_str(fixture).unwrap();
    let scim = scim_with(&[("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Flex Supervisors": "supervisor"}"#)]).await;
    let mut saved = Map::new();
    for step in steps.as_array().unwrap() {
        one(&scim, step, &mut saved).await;
    }
}

async fn one(scim: &Scim, step: &Value, saved: &mut Map<String, Value>) {
    let step = filled(step, saved);
    let what = step["step"].as_str().unwrap();
    let (method, path) = step["request"].as_str().unwrap().split_once(' ').unwrap();
    let path = path.replace(' ', "%20").replace('"', "%22");
    let answer = match step.get("body") {
        Some(body) => scim.send(method, &path, body.clone()).await,
        None => scim.call(scim.request(method, &path, None)).await,
    };
    assert_eq!(json!(answer.status.as_u16()), step["expect"]["status"], "{what}: {}", answer.body);
    said(what, &answer.body, &step["expect"]["says"]);
    for (name, pointer) in step["save"].as_object().into_iter().flatten() {
        saved.insert(name.clone(), answer.body.pointer(pointer.as_str().unwrap()).unwrap().clone());
    }
    if let Some(expected) = step["expect"].get("twilio") {
        let user = scim.world.twilio_user_of(saved["id"].as_str().unwrap()).await.unwrap();
        said(what, &user, expected);
    }
}

fn said(what: &str, value: &Value, expected: &Value) {
    for (pointer, expected) in expected.as_object().into_iter().flatten() {
        assert_eq!(value.pointer(pointer).unwrap_or(&Value::Null), expected, "{what}: {pointer} of {value}");
    }
}

fn filled(value: &Value, saved: &Map<String, Value>) -> Value {
    let mut text = value.to_string();
    for (name, value) in saved {
        text = text.replace(&format!("${{{name}}}"), value.as_str().unwrap());
    }
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn okta_custom_application() {
    play(include_str!("../fixtures/okta_custom.json")).await;
}

#[tokio::test]
async fn okta_catalogue_application() {
    play(include_str!("../fixtures/okta_catalogue.json")).await;
}

#[tokio::test]
async fn entra() {
    play(include_str!("../fixtures/entra.json")).await;
}

#[tokio::test]
async fn entra_with_its_compatibility_flag() {
    play(include_str!("../fixtures/entra_flag.json")).await;
}

#[tokio::test]
async fn onelogin() {
    play(include_str!("../fixtures/onelogin.json")).await;
}

#[tokio::test]
async fn jumpcloud() {
    play(include_str!("../fixtures/jumpcloud.json")).await;
}
