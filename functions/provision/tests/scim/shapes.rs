//! Computes a request's shape: the method, the path without its values, and the structure of the body. Requests that
//! differ only in names, numbers and strings have the same shape. A test counts the shapes in the fixtures.

use std::collections::BTreeSet;

use serde_json::Value;

/// Returns the shape of a fixture's step.
pub fn of(step: &Value) -> String {
    let request = template(step["request"].as_str().unwrap_or_default());
    let body = step.get("body").map(structure).unwrap_or_default();
    format!("{request} {body}")
}

/// Replaces the variable parts of a string with `*`: references to saved values (`${…}`), quoted strings, numbers and
/// ids.
fn template(text: &str) -> String {
    let mut shape = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '$' if rest.starts_with("${") => rest.find('}').map_or(rest.len(), |end| end + 1),
            '"' => rest.get(1..).and_then(|inner| inner.find('"')).map_or(rest.len(), |end| end + 2),
            '0'..='9' => rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len()),
            _ => {
                shape.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            }
        };
        shape.push('*');
        rest = rest.get(length..).unwrap_or_default();
    }
    shape
}

/// Returns the structure of a JSON value: an object's keys, the different structures in a list, and the types of single
/// values. A patch's operators and paths also belong to the structure. An empty string counts as a separate type, and
/// so does a string that contains JSON.
fn structure(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) if text.starts_with('{') => "json".to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(items) => {
            let distinct: BTreeSet<String> = items.iter().map(structure).collect();
            format!("[{}]", distinct.into_iter().collect::<Vec<_>>().join(","))
        }
        Value::Object(map) => {
            let member = |(key, value): (&String, &Value)| match value {
                Value::String(text) if matches!(key.as_str(), "op" | "path") => format!("{key}={}", template(text)),
                value => format!("{}:{}", template(key), structure(value)),
            };
            format!("{{{}}}", map.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}
