//! Replays the requests of identity systems: users, groups and patches, in the form in which each system sends them.
//!
//! A file in `tests/fixtures` names the identity system, the public page that documents its requests, and the steps.
//! Some members of a step need an explanation:
//!
//! * `save` gives a name to a value from the response. Later steps use the value as `${name}`.
//! * `headers` replaces headers of the request. Null removes a header.
//! * `expect` contains the expected status, and the expected values in the response and in Twilio's user. A JSON
//!   pointer says where each value is. Null means that the value is absent. `members` lists a group's members in any
//!   order. Twilio's user is the one in the request's path, or else the one that was last saved as `id`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use flexgate_test_support::Reply;
use http::HeaderName;
use serde_json::{Map, Value, json};

use crate::common::{Scim, scim_with};
use crate::shapes;

/// Defines a test for each fixture file, and a list of all fixture files.
macro_rules! fixtures {
    ($($name:ident)*) => {
        const FIXTURES: &[&str] = &[$(include_str!(concat!("../fixtures/", stringify!($name), ".json"))),*];

        $(#[tokio::test]
        async fn $name() {
            replay(include_str!(concat!("../fixtures/", stringify!($name), ".json"))).await;
        })*
    };
}

fixtures! {
    authentik
    entra entra_flag entra_more microsoft_validator
    google
    jumpcloud jumpcloud_more
    keycloak
    okta_catalogue okta_custom okta_more
    onelogin onelogin_more
    ping
    rippling
    sailpoint_cyberark
}

/// Replays all steps in order. Then reports every step that failed.
async fn replay(fixture: &str) {
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let scim = scim_with(&[("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Flex Supervisors": "supervisor"}"#)]).await;
    let (mut saved, mut wrong) = (Map::new(), String::new());
    for step in steps(&fixture) {
        let step = filled(step, &saved);
        let answer = send(&scim, &step).await;
        let mut differs = |what: &str, is: &Value, expected: &Value| {
            if is != expected {
                let name = step["step"].as_str().unwrap();
                writeln!(wrong, "{name}: {what} is {is}, expected {expected}; {}", answer.text).unwrap();
            }
        };
        differs("the status", &answer.status.as_u16().into(), &step["expect"]["status"]);
        for (pointer, expected) in members(&step["expect"]["says"]) {
            differs(pointer, answer.body.pointer(pointer).unwrap_or(&Value::Null), expected);
        }
        if let Some(Value::Array(expected)) = step["expect"].get("members") {
            let shown = answer.body["members"].as_array().cloned().unwrap_or_default();
            let shown: BTreeSet<_> = shown.iter().map(|member| member["value"].to_string()).collect();
            let expected: BTreeSet<_> = expected.iter().map(Value::to_string).collect();
            differs("the members", &json!(shown), &json!(expected));
        }
        for (name, pointer) in members(&step["save"]) {
            saved.insert(name.clone(), answer.body.pointer(pointer.as_str().unwrap()).cloned().unwrap_or_default());
        }
        if let Some(expected) = step["expect"].get("twilio") {
            let path = step["request"].as_str().unwrap().split_once("/Users/").map(|(_, id)| id.trim_end_matches('/'));
            let sid = path.or(saved.get("id").and_then(Value::as_str)).unwrap_or_default();
            let user = scim.world.twilio_user_of(sid).await.unwrap_or_default();
            for (pointer, expected) in members(expected) {
                differs(&format!("Twilio's {pointer}"), user.pointer(pointer).unwrap_or(&Value::Null), expected);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

async fn send(scim: &Scim, step: &Value) -> Reply {
    let (method, path) = step["request"].as_str().unwrap().split_once(' ').unwrap();
    let path = path.replace(' ', "%20").replace('"', "%22");
    let mut request = scim.request(method, &path, step.get("body"));
    for (name, value) in members(&step["headers"]) {
        let name: HeaderName = name.parse().unwrap();
        match value.as_str() {
            Some(value) => drop(request.headers_mut().insert(name, value.parse().unwrap())),
            None => drop(request.headers_mut().remove(name)),
        }
    }
    scim.call(request).await
}

fn steps(fixture: &Value) -> &[Value] {
    fixture["steps"].as_array().unwrap()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Replaces every `${name}` in the strings and keys of `value` with the saved value.
fn filled(value: &Value, saved: &Map<String, Value>) -> Value {
    let fill = |text: &str| {
        saved.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value.as_str().unwrap_or_default())
        })
    };
    match value {
        Value::String(text) => fill(text).into(),
        Value::Array(items) => items.iter().map(|item| filled(item, saved)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (fill(key), filled(value, saved))).collect(),
        plain => plain.clone(),
    }
}

#[test]
fn the_fixtures_hold_at_least_190_shapes_and_every_step_has_a_source() {
    let mut shapes_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for fixture in FIXTURES {
        let fixture: Value = serde_json::from_str(fixture).unwrap();
        let of_system = shapes_of.entry(fixture["system"].as_str().unwrap().to_owned()).or_default();
        for step in steps(&fixture) {
            let source = step.get("source").or(fixture.get("source")).and_then(Value::as_str).unwrap_or_default();
            assert!(source.len() > 10, "no source: {}", step["step"]);
            assert!(step["expect"]["status"].is_number(), "no expected status: {}", step["step"]);
            let (method, path) = step["request"].as_str().unwrap().split_once(' ').unwrap();
            let writes_a_user = matches!(method, "POST" | "PUT" | "PATCH" | "DELETE") && path.starts_with("/Users");
            let is_done = step["expect"]["status"].as_u64() < Some(300) && !path.ends_with("/.search");
            let twilio = step["expect"].get("twilio");
            assert!(!(writes_a_user && is_done) || twilio.is_some(), "nothing about Twilio's user: {}", step["step"]);
            of_system.insert(shapes::of(step));
        }
    }
    let all: BTreeSet<&String> = shapes_of.values().flatten().collect();
    let per_system: Vec<_> = shapes_of.iter().map(|(system, shapes)| format!("{system}: {}", shapes.len())).collect();
    assert!(all.len() >= 190, "{} distinct shapes; {per_system:?}", all.len());
    assert!(shapes_of.len() >= 10, "{per_system:?}");
}
