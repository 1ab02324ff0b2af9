//! Fuzzes a SCIM `PATCH`, its paths, and the body of a `PUT`.

use flexgate::domain::Role;
use flexgate_provision::protocol::{Document, Schema, apply, operations, resource_says_active, says_active};
use flexgate_provision::{WorkerFields, user_schema};
use serde_json::{Value, json};

use crate::Outcome;

thread_local! {
    static SCHEMA: Schema = {
        let fields = "language.string,level.int".parse::<WorkerFields>().unwrap();
        user_schema(&fields, &[Role::Agent, Role::Supervisor].into())
    };
}

pub(crate) fn schema() -> Schema {
    SCHEMA.with(Clone::clone)
}

/// The input is `{"document": {…}, "Operations": […]}`. The document must be valid as the body of a `PUT`.
pub(crate) fn run(input: &[u8]) -> Outcome {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(input) else { return Outcome::Refused };
    let Some(Value::Object(resource)) = body.remove("document") else { return Outcome::Refused };
    SCHEMA.with(|schema| match put(schema, &resource) {
        Some(document) => patch(schema, &document, &body),
        None => Outcome::Refused,
    })
}

/// The input is a path. This function tries several `PATCH` operations with the path.
pub(crate) fn path(input: &[u8]) -> Outcome {
    let Ok(path) = std::str::from_utf8(input) else { return Outcome::Refused };
    let Value::Object(resource) = json!({
        "userName": "ada", "active": true, "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@example.com", "type": "work", "primary": true }, { "value": "a@example.com" }],
        "roles": [{ "value": "agent" }],
        "urn:flexgate:params:scim:schemas:extension:flex:2.0:User": { "language": "en", "level": 3 },
    }) else {
        return Outcome::Refused;
    };
    SCHEMA.with(|schema| {
        let document = put(schema, &resource).unwrap();
        let values = [json!("b@example.com"), json!("False"), json!(false), json!(7), json!({ "value": "supervisor" })];
        let mut outcome = Outcome::Refused;
        for op in ["add", "replace"] {
            for value in &values {
                let body = json!({ "Operations": [{ "op": op, "path": path, "value": value }] });
                if patch(schema, &document, body.as_object().unwrap()) == Outcome::Accepted {
                    outcome = Outcome::Accepted;
                }
            }
        }
        let body = json!({ "Operations": [{ "op": "remove", "path": path }] });
        if patch(schema, &document, body.as_object().unwrap()) == Outcome::Accepted {
            Outcome::Accepted
        } else {
            outcome
        }
    })
}

/// Parses the body of a `PUT`. Checks that parsing the result again changes nothing, and that `resource_says_active`
/// returns the result's value of `active`.
fn put(schema: &Schema, resource: &Document) -> Option<Document> {
    let read = schema.read(resource).ok()?;
    assert_eq!(schema.read(&read).ok().as_ref(), Some(&read), "a second reading changes the resource");
    assert_eq!(read.get("active").and_then(Value::as_bool), resource_says_active(schema, resource), "{resource:?}");
    Some(read)
}

fn patch(schema: &Schema, read: &Document, body: &Document) -> Outcome {
    let mut document = read.clone();
    document.insert("id".to_owned(), "FU00000000000000000000000000000001".into());
    document.insert("meta".to_owned(), json!({ "resourceType": "User", "created": "2026-03-01T12:00:00Z" }));
    let Ok(listed) = operations(body) else { return Outcome::Refused };
    let Ok(patched) = apply(schema, &document, &listed) else { return Outcome::Refused };
    for name in ["id", "meta", "schemas", "groups"] {
        assert_eq!(patched.get(name), document.get(name), "a client wrote {name}");
    }
    valid(schema, &patched);
    activity(schema, &document, &patched, body);
    Outcome::Accepted
}

/// Checks that the patched document contains only values that a client may `PUT`. As a result, Flexgate can store and
/// show the document, and the client can send it back.
fn valid(schema: &Schema, patched: &Document) {
    let mut writable = patched.clone();
    for name in ["id", "meta", "schemas", "groups"] {
        writable.remove(name);
    }
    let again = schema.read(&writable);
    assert_eq!(again.as_ref().ok(), Some(&writable), "{again:?}");
    for attribute in schema.attributes.iter().filter(|attribute| attribute.multi_valued) {
        let values = patched.get(&attribute.name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let primary = values.iter().filter(|value| value["primary"] == true).count();
        assert!(primary <= 1, "{primary} values of {} are primary", attribute.name);
    }
}

/// Checks that `says_active` finds every change of `active` that an accepted request makes. Flexgate uses this function
/// to deactivate a user even if it must refuse the rest of a request.
fn activity(schema: &Schema, document: &Document, patched: &Document, body: &Document) {
    let said = says_active(schema, body);
    let (before, after) = (&document.get("active"), &patched.get("active"));
    if let Some(said) = said {
        assert_eq!(*after, Some(&Value::Bool(said)), "the client says {said}");
    } else {
        assert_eq!(after, before, "the client says nothing about active");
    }
}
