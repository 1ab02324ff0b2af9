//! `PATCH` (RFC 7644 §3.5.2): operations applied to a document, all or none.

use scim_v2::filter::{AttrExp, CompValue, CompareOp, PatchPath, ValFilter};
use serde_json::{Map, Value};

use super::filter::{MAX_FILTER, value_matches};
use super::schema::{Attribute, Kind, Mutability, Named, Schema};
use super::{Document, Refusal};

/// The most operations of one request. Entra sends 20 at most, Okta 100.
const MAX_OPERATIONS: usize = 1_000;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

/// One operation, as it was sent.
#[derive(Debug, Clone)]
pub struct Operation {
    op: Op,
    path: Option<String>,
    value: Option<Value>,
}

/// Reads the body of a `PATCH`: `Operations`, each with `op`, `path` and `value`. Names and operators in
/// any case, as Entra writes them.
pub fn operations(body: &Map<String, Value>) -> Result<Vec<Operation>, Refusal> {
    let syntax = |detail: &str| Refusal::InvalidSyntax(detail.to_owned());
    let listed = member(body, "Operations").and_then(Value::as_array);
    let listed =
        listed.filter(|list| !list.is_empty()).ok_or_else(|| syntax("Operations must be a list with at least one."))?;
    if listed.len() > MAX_OPERATIONS {
        return Err(syntax("Operations may be 1000 at most."));
    }
    listed.iter().map(|operation| read(operation).ok_or_else(|| syntax("Each operation has an op (add, replace or remove), perhaps a path, and a value where it adds or replaces."))).collect()
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

/// The document after the operations.
pub fn apply(schema: &Schema, document: &Document, operations: &[Operation]) -> Result<Document, Refusal> {
    let mut patched = document.clone();
    for operation in operations {
        let before = patched.clone();
        one(schema, &mut patched, operation)?;
        one_primary(schema, &before, &mut patched);
    }
    Ok(patched)
}

fn one(schema: &Schema, document: &mut Document, operation: &Operation) -> Result<(), Refusal> {
    let Some(path) = &operation.path else { return without_path(schema, document, operation) };
    let target = target(schema, path)?;
    let value = operation.value.as_ref();
    match target {
        Target::NotKept => Ok(()),
        Target::Whole => match (operation.op, value) {
            (Op::Remove, _) => {
                document.remove(schema.extension.as_ref().map_or("", |(id, _)| id));
                Ok(())
            }
            (_, Some(Value::Object(map))) => each_key(schema, document, operation.op, map, true),
            _ => Err(Refusal::InvalidValue("The value of an extension must be an object.".to_owned())),
        },
        Target::At { attribute, extension, filter, sub } => {
            let place = Place { attribute, filter: filter.as_ref(), sub };
            let container = container(schema, document, extension);
            place.change(container, operation.op, value)?;
            prune(schema, document);
            Ok(())
        }
    }
}

/// Where a path leads.
enum Target<'a> {
    At { attribute: &'a Attribute, extension: bool, filter: Option<ValFilter>, sub: Option<&'a Attribute> },
    Whole,
    NotKept,
}

fn target<'a>(schema: &'a Schema, path: &str) -> Result<Target<'a>, Refusal> {
    let unknown = || Refusal::InvalidPath("The path names no attribute of this resource.".to_owned());
    if path.len() > MAX_FILTER {
        return Err(Refusal::InvalidPath("The path is too long.".to_owned()));
    }
    match schema.named(None, path) {
        Named::WholeExtension => return Ok(Target::Whole),
        Named::NotKept => return Ok(Target::NotKept),
        _ => {}
    }
    let parsed: PatchPath =
        path.parse().map_err(|_| Refusal::InvalidPath("The path cannot be read (RFC 7644 §3.5.2).".to_owned()))?;
    let (attr, filter, sub) = match parsed {
        PatchPath::Attr(attr) => (attr.clone(), None, attr.sub_attr),
        PatchPath::Value(value) => (value.attr, Some(value.filter), value.sub_attr),
    };
    let (attribute, extension) = match schema.named(attr.uri.as_deref(), &attr.name) {
        Named::Core(attribute) => (attribute, false),
        Named::Extension(attribute) => (attribute, true),
        Named::NotKept => return Ok(Target::NotKept),
        Named::WholeExtension | Named::Nothing => return Err(unknown()),
    };
    let sub = sub.map(|name| attribute.sub(&name).ok_or_else(unknown)).transpose()?;
    if filter.is_some() && !(attribute.multi_valued && matches!(attribute.kind, Kind::Complex(_))) {
        return Err(Refusal::InvalidPath("Only the values of a list can be selected by a filter.".to_owned()));
    }
    Ok(Target::At { attribute, extension, filter, sub })
}

/// Without a path the value holds attributes; what of it cannot be written is passed over, since Okta
/// sends the `id` along.
fn without_path(schema: &Schema, document: &mut Document, operation: &Operation) -> Result<(), Refusal> {
    match (operation.op, &operation.value) {
        (Op::Remove, _) => Err(Refusal::NoTarget("An operation that removes needs a path.".to_owned())),
        (_, Some(Value::Object(map))) => each_key(schema, document, operation.op, map, false),
        _ => Err(Refusal::InvalidValue("Without a path, the value must be an object of attributes.".to_owned())),
    }
}

fn each_key(
    schema: &Schema,
    document: &mut Document,
    op: Op,
    map: &Map<String, Value>,
    in_extension: bool,
) -> Result<(), Refusal> {
    for (key, value) in map {
        let (named, sub) = match (&schema.extension, in_extension) {
            (Some((id, _)), true) => (schema.named(Some(id), key), None),
            _ => schema.key(key),
        };
        key_change(schema, document, named, sub, op, value)?;
    }
    prune(schema, document);
    Ok(())
}

/// A key of a resource that is read, as an `add` to what has been read so far.
pub(super) fn assign(schema: &Schema, document: &mut Document, key: &str, value: &Value) -> Result<(), Refusal> {
    let (named, sub) = schema.key(key);
    key_change(schema, document, named, sub, Op::Replace, value)?;
    prune(schema, document);
    Ok(())
}

fn key_change(
    schema: &Schema,
    document: &mut Document,
    named: Named<'_>,
    sub: Option<&str>,
    op: Op,
    value: &Value,
) -> Result<(), Refusal> {
    let (attribute, extension) = match named {
        Named::Core(attribute) => (attribute, false),
        Named::Extension(attribute) => (attribute, true),
        Named::WholeExtension => {
            return match value {
                Value::Object(map) => each_key(schema, document, op, map, true),
                Value::Null => Ok(()),
                _ => Err(Refusal::InvalidValue("The value of an extension must be an object.".to_owned())),
            };
        }
        Named::NotKept | Named::Nothing => return Ok(()),
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
    Place { attribute, filter: None, sub }.change(container(schema, document, extension), op, Some(value))
}

fn container<'a>(schema: &Schema, document: &'a mut Document, extension: bool) -> &'a mut Document {
    match &schema.extension {
        Some((id, _)) if extension => object(document.entry(*id).or_insert_with(|| Value::Object(Map::new()))),
        _ => document,
    }
}

/// The object that `value` is, made one where it is not.
fn object(value: &mut Value) -> &mut Document {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        // Just made one.
        _ => unreachable!("it is an object"),
    }
}

/// An extension without attributes is none.
fn prune(schema: &Schema, document: &mut Document) {
    if let Some((id, _)) = &schema.extension
        && document.get(*id).and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        document.remove(*id);
    }
}

/// An attribute, perhaps some of its values, perhaps a sub-attribute of those.
struct Place<'a> {
    attribute: &'a Attribute,
    filter: Option<&'a ValFilter>,
    sub: Option<&'a Attribute>,
}

impl Place<'_> {
    fn change(&self, container: &mut Document, op: Op, value: Option<&Value>) -> Result<(), Refusal> {
        let written = self.sub.unwrap_or(self.attribute);
        if self.attribute.mutability == Mutability::ReadOnly || written.mutability == Mutability::ReadOnly {
            return Err(Refusal::Mutability(format!("{} cannot be written.", self.attribute.name)));
        }
        match (op, value) {
            (Op::Remove, _) => self.remove(container, value),
            // RFC 7643 §2.5: null, and an empty list, mean that there is no value.
            (_, None | Some(Value::Null)) => self.remove(container, None),
            (Op::Replace, Some(Value::Array(list))) if list.is_empty() && self.sub.is_none() => {
                self.remove(container, None)
            }
            (op, Some(value)) => match (self.filter, self.sub) {
                (None, None) => self.whole(container, op, value),
                (None, Some(sub)) => self.sub_of_all(container, sub, op, value),
                (Some(filter), _) => self.selected(container, filter, op, value),
            },
        }
    }

    fn whole(&self, container: &mut Document, op: Op, value: &Value) -> Result<(), Refusal> {
        let attribute = self.attribute;
        let Some(read) = attribute.read(value)? else { return Ok(()) };
        match (container.get_mut(&attribute.name), read) {
            (Some(Value::Array(present)), Value::Array(added)) if op == Op::Add => {
                for value in added {
                    if !present.contains(&value) {
                        present.push(value);
                    }
                }
            }
            // §3.5.2.3: the sub-attributes given replace those there are; the others stay.
            (Some(Value::Object(present)), Value::Object(given)) => present.extend(given),
            (_, read) => drop(container.insert(attribute.name.clone(), read)),
        }
        Ok(())
    }

    fn sub_of_all(&self, container: &mut Document, sub: &Attribute, op: Op, value: &Value) -> Result<(), Refusal> {
        let Some(read) = sub.read(value)? else { return Ok(()) };
        if !self.attribute.multi_valued {
            let parent = object(container.entry(self.attribute.name.clone()).or_insert(Value::Null));
            parent.insert(sub.name.clone(), read);
            return Ok(());
        }
        let list = list(container, &self.attribute.name);
        if list.is_empty() || op == Op::Add {
            list.push(Value::Object(Map::from_iter([(sub.name.clone(), read)])));
        } else {
            list.iter_mut().for_each(|item| drop(object(item).insert(sub.name.clone(), read.clone())));
        }
        Ok(())
    }

    fn selected(&self, container: &mut Document, filter: &ValFilter, op: Op, value: &Value) -> Result<(), Refusal> {
        self.permit(filter)?;
        let Some(given) = self.given(value)? else { return Ok(()) };
        let present = list(container, &self.attribute.name);
        let was_empty = present.is_empty();
        let mut found = false;
        for item in present.iter_mut().filter(|item| value_matches(self.attribute, filter, item)) {
            found = true;
            match (op, self.sub) {
                // §3.5.2.3: "all matching record values SHALL be replaced".
                (Op::Replace, None) => *item = Value::Object(given.clone()),
                _ => object(item).extend(given.clone()),
            }
        }
        if found {
            return Ok(());
        }
        // §3.5.2.3: a replace that selects nothing fails, unless there is no such attribute yet: then it
        // is an add. An add makes the value that its filter describes.
        match described(self.attribute, filter) {
            Some(mut made) if op == Op::Add || was_empty => {
                made.extend(given);
                present.push(Value::Object(made));
                Ok(())
            }
            _ => {
                if was_empty {
                    container.remove(&self.attribute.name);
                }
                Err(Refusal::NoTarget("No value of the list matches the filter of the path.".to_owned()))
            }
        }
    }

    /// What the operation gives to each value it selects.
    fn given(&self, value: &Value) -> Result<Option<Document>, Refusal> {
        match self.sub {
            Some(sub) => Ok(sub.read(value)?.map(|read| Map::from_iter([(sub.name.clone(), read)]))),
            None => match self.attribute.read_one(value)? {
                Some(Value::Object(map)) => Ok(Some(map)),
                _ => Ok(None),
            },
        }
    }

    fn remove(&self, container: &mut Document, value: Option<&Value>) -> Result<(), Refusal> {
        let name = &self.attribute.name;
        let narrowed = self.filter.is_some() || self.sub.is_some();
        let immutable = self.attribute.mutability == Mutability::Immutable;
        if (self.attribute.required && !self.attribute.multi_valued || immutable) && !narrowed {
            return Err(Refusal::Mutability(format!("{name} cannot be removed.")));
        }
        if let Some(filter) = self.filter {
            self.permit(filter)?;
        }
        // Entra removes members by listing them in the value.
        let listed = match value {
            Some(value) if self.attribute.multi_valued && !narrowed => self.attribute.read(value)?,
            _ => None,
        };
        match container.get_mut(name) {
            None => {}
            Some(Value::Array(present)) => {
                let selects = |item: &Value| {
                    self.filter.is_none_or(|filter| value_matches(self.attribute, filter, item))
                        && listed
                            .as_ref()
                            .and_then(Value::as_array)
                            .is_none_or(|listed| listed.iter().any(|one| same(one, item)))
                };
                match self.sub {
                    Some(sub) => {
                        present
                            .iter_mut()
                            .filter(|item| selects(item))
                            .for_each(|item| drop(object(item).remove(&sub.name)));
                        present.retain(|item| item.as_object().is_none_or(|map| !map.is_empty()));
                    }
                    None => present.retain(|item| !selects(item)),
                }
                if present.is_empty() {
                    container.remove(name);
                }
            }
            Some(Value::Object(map)) if self.sub.is_some() => {
                map.remove(self.sub.map_or("", |sub| &sub.name));
                if map.is_empty() {
                    container.remove(name);
                }
            }
            Some(_) => drop(container.remove(name)),
        }
        Ok(())
    }

    /// Members are selected one by one. A filter that is true of everybody would empty a group by mistake.
    fn permit(&self, filter: &ValFilter) -> Result<(), Refusal> {
        if self.attribute.name != "members" || names_values(filter) {
            return Ok(());
        }
        Err(Refusal::InvalidFilter("Members are selected by value eq \"id\", several joined by or.".to_owned()))
    }
}

/// Whether the value that is listed for removal is this one: by its `value`, or wholly.
fn same(listed: &Value, item: &Value) -> bool {
    match (listed.get("value"), item.get("value")) {
        (Some(listed), Some(value)) => listed == value,
        _ => listed == item,
    }
}

fn names_values(filter: &ValFilter) -> bool {
    match filter {
        ValFilter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(_))) => {
            path.uri.is_none() && path.sub_attr.is_none() && path.name.eq_ignore_ascii_case("value")
        }
        ValFilter::Or(any) => any.iter().all(names_values),
        _ => false,
    }
}

/// The value that a filter of equalities describes.
fn described(attribute: &Attribute, filter: &ValFilter) -> Option<Document> {
    let mut made = Document::new();
    let parts = match filter {
        ValFilter::And(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    for part in parts {
        let ValFilter::Attr(AttrExp::Comparison(path, CompareOp::Eq, value)) = part else { return None };
        let sub = attribute.sub(&path.name)?;
        let value = match value {
            CompValue::Str(text) => text.as_str().into(),
            CompValue::True => true.into(),
            CompValue::False => false.into(),
            CompValue::Number(number) => Value::Number(number.clone()),
            CompValue::Null => return None,
        };
        made.insert(sub.name.clone(), sub.read(&value).ok()??);
    }
    Some(made)
}

fn list<'a>(container: &'a mut Document, name: &str) -> &'a mut Vec<Value> {
    let value = container.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it is a list"),
    }
}

/// §3.5.2: where an operation makes a value primary, the one that was is no longer.
fn one_primary(schema: &Schema, before: &Document, document: &mut Document) {
    for attribute in schema.attributes.iter().filter(|a| a.multi_valued && a.sub("primary").is_some()) {
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
