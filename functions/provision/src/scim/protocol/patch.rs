//! Applies a `PATCH` (RFC 7644 §3.5.2): all of its operations, or none.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::filter::MAX_FILTER;
use super::grammar::{self, Filter};
use super::patch_target::{Op, PatchTarget, object};
use super::schema::{Attribute, Kind, Mutability, ResolvedAttribute, Schema};
use super::{Document, ProtocolError};

/// The maximum number of operations in a request. Entra sends at most 20, and Okta at most 100.
const MAX_OPERATIONS: usize = 1_000;

/// The maximum number of e-mail addresses or roles.
const MAX_VALUES: usize = 100;

/// One operation, as the client sent it.
#[derive(Debug, Clone)]
pub struct Operation {
    op: Op,
    path: Option<String>,
    value: Option<Value>,
}

/// Reads a `PATCH` body: a list `Operations` of objects with `op`, `path` and `value`. Entra varies the case of names
/// and operators, so case is ignored.
pub fn operations(body: &Map<String, Value>) -> Result<Vec<Operation>, ProtocolError> {
    let syntax = |detail: &str| ProtocolError::InvalidSyntax(detail.to_owned());
    let listed = member(body, "Operations").and_then(Value::as_array);
    let listed = listed
        .filter(|list| !list.is_empty())
        .ok_or_else(|| syntax("Operations must be a list with at least one operation."))?;
    if listed.len() > MAX_OPERATIONS {
        return Err(syntax("Operations may have at most 1000 entries."));
    }
    listed.iter().map(|operation| read(operation).ok_or_else(|| syntax("Each operation needs an op (add, replace or remove), and a value if it adds or replaces. A path must be a string."))).collect()
}

fn read(operation: &Value) -> Option<Operation> {
    let operation = operation.as_object()?;
    let op = member(operation, "op")?.as_str()?;
    let op = [("add", Op::Add), ("replace", Op::Replace), ("remove", Op::Remove)]
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(op))?
        .1;
    let path = match member(operation, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) => Some(path.trim().to_owned()).filter(|path| !path.is_empty()),
        Some(_) => return None,
    };
    let value = member(operation, "value").cloned();
    if value.is_none() && op != Op::Remove {
        return None;
    }
    Some(Operation { op, path, value })
}

fn member<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name).or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// Returns `active` from the body of a `PUT`, even if the rest is invalid. If the body contains `active` several times,
/// returns the last value.
#[must_use]
pub fn resource_says_active(schema: &Schema, resource: &Map<String, Value>) -> Option<bool> {
    active_among(schema, in_order(resource))
}

/// Returns `active` from the body of a `PATCH`, even if the rest is invalid. If the body contains `active` several
/// times, returns the last value.
#[must_use]
pub fn says_active(schema: &Schema, body: &Map<String, Value>) -> Option<bool> {
    let operations = member(body, "Operations").and_then(Value::as_array)?;
    let of_operation = |operation: &Value| {
        let operation = operation.as_object()?;
        let value = member(operation, "value")?;
        if member(operation, "op")?.as_str()?.eq_ignore_ascii_case("remove") {
            return None;
        }
        match member(operation, "path").and_then(Value::as_str).map(str::trim).filter(|path| !path.is_empty()) {
            Some(path) => active_at(schema, path, value),
            None => active_among(schema, value.as_object()?),
        }
    };
    operations.iter().filter_map(of_operation).next_back()
}

fn active_among<'a>(schema: &Schema, members: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Option<bool> {
    members.into_iter().filter_map(|(key, value)| active_at(schema, key, value)).last()
}

fn active_at(schema: &Schema, key: &str, value: &Value) -> Option<bool> {
    match schema.key(key) {
        (ResolvedAttribute::Core(attribute), None) if attribute.name == "active" => {
            attribute.read(value).ok()??.as_bool()
        }
        _ => None,
    }
}

/// Whether an operation adds or replaces the core attribute called `name`. With `sub`, whether an operation adds or
/// replaces this sub-attribute.
#[must_use]
pub fn names(schema: &Schema, operations: &[Operation], name: &str, sub: Option<&str>) -> bool {
    let sets = |key: &str, value: &Value| match schema.key(key) {
        (ResolvedAttribute::Core(found), part) if found.name == name => match (part, sub) {
            (None, None) => true,
            (Some(part), Some(sub)) => part.eq_ignore_ascii_case(sub),
            (None, Some(sub)) => value.as_object().is_some_and(|map| member(map, sub).is_some()),
            (Some(_), None) => false,
        },
        _ => false,
    };
    let of_operation = |operation: &Operation| match (&operation.path, &operation.value) {
        (Some(path), Some(value)) => sets(path, value),
        (None, Some(Value::Object(map))) => map.iter().any(|(key, value)| sets(key, value)),
        _ => false,
    };
    operations.iter().filter(|operation| operation.op != Op::Remove).any(of_operation)
}

/// Returns the document with the operations applied.
pub fn apply(schema: &Schema, document: &Document, operations: &[Operation]) -> Result<Document, ProtocolError> {
    let mut patched = document.clone();
    for operation in operations {
        let before = primaries(schema, &patched);
        one(schema, &mut patched, operation)?;
        one_primary(schema, &before, &mut patched);
        check_lengths(schema, &patched)?;
    }
    without_duplicates(schema, document, &mut patched);
    Ok(patched)
}

fn one(schema: &Schema, document: &mut Document, operation: &Operation) -> Result<(), ProtocolError> {
    match &operation.path {
        Some(path) => at_path(schema, document, path, operation.op, operation.value.as_ref()),
        None => without_path(schema, document, operation),
    }
}

fn at_path(
    schema: &Schema,
    document: &mut Document,
    path: &str,
    op: Op,
    value: Option<&Value>,
) -> Result<(), ProtocolError> {
    match target(schema, path)? {
        Target::NotKept => Ok(()),
        Target::Whole => match (op, value) {
            (Op::Remove, _) | (_, Some(Value::Null)) => {
                document.remove(schema.extension.as_ref().map_or("", |(id, _)| id));
                Ok(())
            }
            (_, Some(Value::Object(map))) => each_key(schema, document, op, map, true),
            _ => Err(ProtocolError::InvalidValue("The value of an extension must be an object.".to_owned())),
        },
        Target::At { attribute, extension, filter, sub } => {
            let place = PatchTarget { attribute, filter: filter.as_ref(), sub };
            let container = container(schema, document, extension);
            place.change(container, op, value)?;
            prune(schema, document);
            Ok(())
        }
    }
}

/// What a path refers to.
enum Target<'a> {
    At { attribute: &'a Attribute, extension: bool, filter: Option<Filter>, sub: Option<&'a Attribute> },
    Whole,
    NotKept,
}

fn target<'a>(schema: &'a Schema, path: &str) -> Result<Target<'a>, ProtocolError> {
    let unknown = || ProtocolError::InvalidPath("The path names no attribute of this resource.".to_owned());
    if path.len() > MAX_FILTER {
        return Err(ProtocolError::InvalidPath("The path is too long.".to_owned()));
    }
    match schema.named(None, path) {
        ResolvedAttribute::WholeExtension => return Ok(Target::Whole),
        ResolvedAttribute::NotKept => return Ok(Target::NotKept),
        _ => {}
    }
    let parsed = grammar::path(path)
        .map_err(|_| ProtocolError::InvalidPath("The path is malformed (RFC 7644 §3.5.2).".to_owned()))?;
    let (attr, filter) = (parsed.attr, parsed.filter);
    let sub = if filter.is_some() { parsed.sub_attr } else { attr.sub_attr.clone() };
    let (attribute, extension) = match schema.named(attr.uri.as_deref(), &attr.name) {
        ResolvedAttribute::Core(attribute) => (attribute, false),
        ResolvedAttribute::Extension(attribute) => (attribute, true),
        ResolvedAttribute::NotKept => return Ok(Target::NotKept),
        ResolvedAttribute::WholeExtension | ResolvedAttribute::Nothing => return Err(unknown()),
    };
    let sub = match sub {
        Some(name) if attribute.ignores_sub(&name) => return Ok(Target::NotKept),
        sub => sub.map(|name| attribute.sub(&name).ok_or_else(unknown)).transpose()?,
    };
    if filter.is_some() && !(attribute.multi_valued && matches!(attribute.kind, Kind::Complex(_))) {
        return Err(ProtocolError::InvalidPath("A filter can select only values of a list.".to_owned()));
    }
    Ok(Target::At { attribute, extension, filter, sub })
}

/// Applies an operation without a path. The operation's value is an object of attributes. Okta also sends the read-only
/// `id`, so read-only attributes are ignored.
fn without_path(schema: &Schema, document: &mut Document, operation: &Operation) -> Result<(), ProtocolError> {
    match (operation.op, &operation.value) {
        (Op::Remove, _) => Err(ProtocolError::NoTarget("A remove operation needs a path.".to_owned())),
        (_, Some(Value::Object(map))) => each_key(schema, document, operation.op, map, false),
        _ => Err(ProtocolError::InvalidValue("Without a path, the value must be an object of attributes.".to_owned())),
    }
}

fn each_key(
    schema: &Schema,
    document: &mut Document,
    op: Op,
    map: &Map<String, Value>,
    in_extension: bool,
) -> Result<(), ProtocolError> {
    for (key, value) in map {
        if selects_values(key) && !in_extension {
            selected_by_key(schema, document, key, op, value)?;
            continue;
        }
        let (named, sub) = match (&schema.extension, in_extension) {
            (Some((id, _)), true) => (schema.named(Some(id), key), None),
            _ => schema.key(key),
        };
        key_change(schema, document, named, sub, op, value)?;
    }
    prune(schema, document);
    Ok(())
}

impl Schema {
    /// Reads a resource from a client. Keeps only known and writable attributes.
    pub fn read(&self, resource: &Map<String, Value>) -> Result<Document, ProtocolError> {
        let mut read = Document::new();
        for (key, value) in in_order(resource) {
            assign(self, &mut read, key, value)?;
        }
        check_lengths(self, &read)?;
        Ok(read)
    }
}

/// Returns the JSON members of a resource in the order in which they must be applied. Keys with a dot, a URN or a
/// filter add to the values of plain keys, so plain keys come first.
fn in_order(resource: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = resource.iter().collect();
    members.sort_by_key(|(key, _)| key.contains(['.', ':', '[']));
    members
}

/// Whether a key contains a filter, as in Entra's `emails[type eq "work"].value`.
fn selects_values(key: &str) -> bool {
    key.contains('[')
}

/// Changes the list values that match the filter in the key. Without a match, creates the value that the filter
/// describes, because a `replace` without a path also adds missing values (RFC 7644 §3.5.2.3).
fn selected_by_key(
    schema: &Schema,
    document: &mut Document,
    key: &str,
    op: Op,
    value: &Value,
) -> Result<(), ProtocolError> {
    let name = key.split('[').next().unwrap_or_default().trim();
    match schema.key(name).0 {
        // Ignore unknown and read-only attributes, just as for a key without a filter.
        ResolvedAttribute::Nothing | ResolvedAttribute::NotKept => return Ok(()),
        ResolvedAttribute::Core(attribute) | ResolvedAttribute::Extension(attribute)
            if attribute.mutability == Mutability::ReadOnly =>
        {
            return Ok(());
        }
        _ => {}
    }
    match at_path(schema, document, key, op, Some(value)) {
        Err(ProtocolError::NoTarget(_)) => at_path(schema, document, key, Op::Add, Some(value)),
        done => done,
    }
}

/// Applies one key of the client's resource, with its value, to `document`.
fn assign(schema: &Schema, document: &mut Document, key: &str, value: &Value) -> Result<(), ProtocolError> {
    if selects_values(key) {
        return selected_by_key(schema, document, key, Op::Replace, value);
    }
    let (named, sub) = schema.key(key);
    key_change(schema, document, named, sub, Op::Replace, value)?;
    prune(schema, document);
    Ok(())
}

fn key_change(
    schema: &Schema,
    document: &mut Document,
    named: ResolvedAttribute<'_>,
    sub: Option<&str>,
    op: Op,
    value: &Value,
) -> Result<(), ProtocolError> {
    let (attribute, extension) = match named {
        ResolvedAttribute::Core(attribute) => (attribute, false),
        ResolvedAttribute::Extension(attribute) => (attribute, true),
        ResolvedAttribute::WholeExtension => {
            return match value {
                Value::Object(map) => each_key(schema, document, op, map, true),
                Value::Null => {
                    document.remove(schema.extension.as_ref().map_or("", |(id, _)| id));
                    Ok(())
                }
                _ => Err(ProtocolError::InvalidValue("The value of an extension must be an object.".to_owned())),
            };
        }
        ResolvedAttribute::NotKept | ResolvedAttribute::Nothing => return Ok(()),
    };
    let sub = match sub {
        None => None,
        Some(name) => match attribute.sub(name) {
            Some(sub) => Some(sub),
            None => return Ok(()),
        },
    };
    if attribute.mutability == Mutability::ReadOnly || sub.is_some_and(|sub| sub.mutability == Mutability::ReadOnly) {
        return Ok(());
    }
    PatchTarget { attribute, filter: None, sub }.change(container(schema, document, extension), op, Some(value))
}

fn container<'a>(schema: &Schema, document: &'a mut Document, extension: bool) -> &'a mut Document {
    match &schema.extension {
        Some((id, _)) if extension => object(document.entry(*id).or_insert_with(|| Value::Object(Map::new()))),
        _ => document,
    }
}

/// Removes the extension if it has no attributes left.
fn prune(schema: &Schema, document: &mut Document) {
    if let Some((id, _)) = &schema.extension
        && document.get(*id).and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        document.remove(*id);
    }
}
/// The lists whose values may be primary.
fn with_primary(schema: &Schema) -> impl Iterator<Item = &Attribute> {
    schema.attributes.iter().filter(|attribute| attribute.multi_valued && attribute.sub("primary").is_some())
}

fn primaries(schema: &Schema, document: &Document) -> Document {
    let list = |attribute: &Attribute| Some((attribute.name.clone(), document.get(&attribute.name)?.clone()));
    with_primary(schema).filter_map(list).collect()
}

/// Refuses more than [`MAX_VALUES`] e-mail addresses or roles, because comparing the values of a long list is slow.
fn check_lengths(schema: &Schema, document: &Document) -> Result<(), ProtocolError> {
    let is_long = |attribute: &&Attribute| {
        document.get(&attribute.name).and_then(Value::as_array).is_some_and(|values| values.len() > MAX_VALUES)
    };
    match with_primary(schema).find(is_long) {
        Some(attribute) => {
            Err(ProtocolError::InvalidValue(format!("{} may have at most {MAX_VALUES} values.", attribute.name)))
        }
        None => Ok(()),
    }
}

/// Removes duplicates from changed lists (RFC 7643 §2.4).
fn without_duplicates(schema: &Schema, before: &Document, document: &mut Document) {
    for attribute in schema.attributes.iter().filter(|attribute| attribute.multi_valued) {
        let unchanged = document.get(&attribute.name) == before.get(&attribute.name);
        if let (false, Some(Value::Array(values))) = (unchanged, document.get_mut(&attribute.name)) {
            let mut seen: HashSet<String> = HashSet::with_capacity(values.len());
            values.retain(|value| seen.insert(value.to_string()));
        }
    }
}

/// If a change makes a value primary, the previous primary value is no longer primary (RFC 7644 §3.5.2).
fn one_primary(schema: &Schema, before: &Document, document: &mut Document) {
    for attribute in with_primary(schema) {
        let Some(Value::Array(values)) = document.get_mut(&attribute.name) else { continue };
        let is_primary = |value: &Value| value.get("primary") == Some(&Value::Bool(true));
        if values.iter().filter(|value| is_primary(value)).count() < 2 {
            continue;
        }
        let old = before.get(&attribute.name).and_then(Value::as_array);
        let was = |value: &Value| old.is_some_and(|old| old.contains(value));
        let newest = values.iter().rposition(|value| is_primary(value) && !was(value));
        let keep = newest.or_else(|| values.iter().position(is_primary));
        for (index, value) in values.iter_mut().enumerate() {
            if Some(index) != keep && is_primary(value) {
                object(value).insert("primary".to_owned(), false.into());
            }
        }
    }
}
