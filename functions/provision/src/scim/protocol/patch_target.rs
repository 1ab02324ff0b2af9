//! Applies a patch operation to its target (RFC 7644 §3.5.2.1 to §3.5.2.3).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::filter::value_matches;
use super::grammar::{AttrExp, CompValue, CompareOp, Filter};
use super::schema::{Attribute, Mutability};
use super::{Document, ProtocolError};

/// For lists up to this length, comparing the values one by one is faster than building a set.
const FEW: usize = 8;

/// The kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Replace,
    Remove,
}

/// The attribute that an operation changes. `filter` selects some of its values, and `sub` one of its sub-attributes.
pub(super) struct PatchTarget<'a> {
    pub(super) attribute: &'a Attribute,
    pub(super) filter: Option<&'a Filter>,
    pub(super) sub: Option<&'a Attribute>,
}

impl PatchTarget<'_> {
    pub(super) fn change(&self, container: &mut Document, op: Op, value: Option<&Value>) -> Result<(), ProtocolError> {
        let written = self.sub.unwrap_or(self.attribute);
        if self.attribute.mutability == Mutability::ReadOnly || written.mutability == Mutability::ReadOnly {
            return Err(ProtocolError::Mutability(format!("{} cannot be written.", self.attribute.name)));
        }
        match (op, value) {
            (Op::Remove, _) => self.remove(container, value),
            // Null and an empty list both mean "no value" (RFC 7643 §2.5).
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

    fn whole(&self, container: &mut Document, op: Op, value: &Value) -> Result<(), ProtocolError> {
        let attribute = self.attribute;
        let Some(read) = attribute.read(value)? else { return self.nothing(container, op, value) };
        match (container.get_mut(&attribute.name), read) {
            (Some(Value::Array(present)), Value::Array(added)) if op == Op::Add => {
                if added.len() <= FEW {
                    for value in added {
                        if !present.contains(&value) {
                            present.push(value);
                        }
                    }
                } else {
                    let mut seen: HashSet<String> = present.iter().map(Value::to_string).collect();
                    present.extend(added.into_iter().filter(|value| seen.insert(value.to_string())));
                }
            }
            // Keep the sub-attributes that the operation omits (RFC 7644 §3.5.2.3).
            (Some(Value::Object(present)), Value::Object(given)) => {
                unset(attribute, present, value);
                present.extend(given);
            }
            (_, read) => drop(container.insert(attribute.name.clone(), read)),
        }
        Ok(())
    }

    /// Applies a value that contains nothing, such as `{}`, `[{}]` or an object of nulls.
    fn nothing(&self, container: &mut Document, op: Op, value: &Value) -> Result<(), ProtocolError> {
        match container.get_mut(&self.attribute.name) {
            Some(Value::Object(present)) => {
                unset(self.attribute, present, value);
                if present.is_empty() {
                    container.remove(&self.attribute.name);
                }
                Ok(())
            }
            Some(Value::Array(present)) if op == Op::Replace && !present.is_empty() => Err(self.vague("replace")),
            _ => Ok(()),
        }
    }

    /// Returns the error for an empty value in a list. The request is refused, because the client could mean either no
    /// value or all values.
    fn vague(&self, verb: &str) -> ProtocolError {
        let name = &self.attribute.name;
        ProtocolError::InvalidValue(format!("{name}: a value to {verb} must name one, like {{\"value\": \"…\"}}."))
    }

    fn sub_of_all(
        &self,
        container: &mut Document,
        sub: &Attribute,
        op: Op,
        value: &Value,
    ) -> Result<(), ProtocolError> {
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
            for item in list.iter_mut() {
                object(item).insert(sub.name.clone(), read.clone());
            }
        }
        Ok(())
    }

    fn selected(&self, container: &mut Document, filter: &Filter, op: Op, value: &Value) -> Result<(), ProtocolError> {
        self.permit(filter)?;
        let given = self.given(value)?;
        let matches = self.matching(filter);
        let present = list(container, &self.attribute.name);
        let was_empty = present.is_empty();
        let mut found = false;
        for item in present.iter_mut().filter(|item| matches(item)) {
            found = true;
            match (op, self.sub) {
                (Op::Replace, None) if given.is_empty() => return Err(self.vague("replace")),
                // A `replace` without a sub-attribute replaces the whole value. RFC 7644 §3.5.2.3: "all matching record
                // values SHALL be replaced".
                (Op::Replace, None) => *item = Value::Object(given.clone()),
                (_, sub) => {
                    let item = object(item);
                    if sub.is_none() {
                        unset(self.attribute, item, value);
                    }
                    item.extend(given.clone());
                }
            }
        }
        present.retain(|item| item.as_object().is_none_or(|map| !map.is_empty()));
        if present.is_empty() && given.is_empty() {
            container.remove(&self.attribute.name);
            return Ok(());
        }
        if given.is_empty() {
            return Ok(());
        }
        if found {
            return Ok(());
        }
        // If the filter selects nothing, an `add` creates the value that the filter describes. A `replace` does so only
        // if the attribute has no values at all. Otherwise, the `replace` fails (RFC 7644 §3.5.2.3).
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
                Err(ProtocolError::NoTarget("No value of the list matches the path's filter.".to_owned()))
            }
        }
    }

    /// Returns the sub-attributes to set on each selected value.
    fn given(&self, value: &Value) -> Result<Document, ProtocolError> {
        let read = match self.sub {
            Some(sub) => sub.read(value)?.map(|read| Map::from_iter([(sub.name.clone(), read)])),
            None => match self.attribute.read_one(value)? {
                Some(Value::Object(map)) => Some(map),
                _ => None,
            },
        };
        Ok(read.unwrap_or_default())
    }

    fn remove(&self, container: &mut Document, value: Option<&Value>) -> Result<(), ProtocolError> {
        let name = &self.attribute.name;
        let narrowed = self.filter.is_some() || self.sub.is_some();
        let immutable = self.attribute.mutability == Mutability::Immutable;
        if (self.attribute.required && !self.attribute.multi_valued || immutable) && !narrowed {
            return Err(ProtocolError::Mutability(format!("{name} cannot be removed.")));
        }
        if let Some(filter) = self.filter {
            self.permit(filter)?;
        }
        // Entra puts the members to remove into the operation's value. An empty list removes nobody.
        let listed = match value.filter(|value| !value.is_null()) {
            Some(value) if self.attribute.multi_valued && !narrowed => Some(self.listed(value)?),
            _ => None,
        };
        match container.get_mut(name) {
            None => {}
            Some(Value::Array(present)) => {
                let matches = self.filter.map(|filter| self.matching(filter));
                let listed = listed.as_ref().and_then(Value::as_array).map(|listed| Listed::of(listed));
                let selects = |item: &Value| {
                    let is_selected = matches.as_ref().is_none_or(|matches| matches(item));
                    is_selected && listed.as_ref().is_none_or(|listed| listed.contains(item))
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

    /// Reads the values to remove. Refuses an empty value, because the client could mean all values.
    fn listed(&self, value: &Value) -> Result<Value, ProtocolError> {
        let one_by_one = match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        for value in one_by_one {
            if self.attribute.read_one(value)?.is_none() {
                return Err(self.vague("remove"));
            }
        }
        Ok(self.attribute.read(value)?.unwrap_or_else(|| Value::Array(Vec::new())))
    }

    /// Returns a function that tests whether the filter selects a value. For a filter such as `value eq "a" or value eq
    /// "b"`, the function uses a hash set, because the filter may name many values, and a group may have many members.
    fn matching<'f>(&'f self, filter: &'f Filter) -> Box<dyn Fn(&Value) -> bool + 'f> {
        let is_exact = self.attribute.sub("value").is_some_and(|sub| sub.case_exact);
        match named_values(filter).filter(|_| is_exact) {
            Some(named) => {
                Box::new(move |item| item.get("value").and_then(Value::as_str).is_some_and(|id| named.contains(id)))
            }
            None => Box::new(move |item| value_matches(self.attribute, filter, item)),
        }
    }

    /// Allows only filters on `members` that name individual members. Any other filter could empty a group by mistake.
    fn permit(&self, filter: &Filter) -> Result<(), ProtocolError> {
        if self.attribute.name != "members" || named_values(filter).is_some() {
            return Ok(());
        }
        Err(ProtocolError::InvalidFilter("Select members by value eq \"id\", and join several with or.".to_owned()))
    }
}

/// Removes the sub-attributes that are null in the client's value (RFC 7643 §2.5).
fn unset(attribute: &Attribute, present: &mut Document, value: &Value) {
    let nulls = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_null());
    for sub in nulls.filter_map(|(key, _)| attribute.sub(key)).filter(|sub| sub.mutability != Mutability::ReadOnly) {
        present.remove(&sub.name);
    }
}

/// The values to remove. A value with the sub-attribute `value` selects the items with the same `value`. Any other
/// value selects equal items.
enum Listed<'a> {
    Few(&'a [Value]),
    Many { by_value: HashSet<String>, whole: HashSet<String> },
}

impl<'a> Listed<'a> {
    fn of(listed: &'a [Value]) -> Self {
        if listed.len() <= FEW {
            return Self::Few(listed);
        }
        let text = |value: &Value| value.get("value").map(Value::to_string);
        Self::Many {
            by_value: listed.iter().filter_map(text).collect(),
            whole: listed.iter().filter(|value| text(value).is_none()).map(Value::to_string).collect(),
        }
    }

    fn contains(&self, item: &Value) -> bool {
        match self {
            Self::Few(listed) => listed.iter().any(|one| match (one.get("value"), item.get("value")) {
                (Some(listed), Some(value)) => listed == value,
                _ => one == item,
            }),
            Self::Many { by_value, whole } => {
                let is_named = item.get("value").is_some_and(|value| by_value.contains(&value.to_string()));
                is_named || whole.contains(&item.to_string())
            }
        }
    }
}

/// Returns the values in a filter such as `value eq "a" or value eq "b"`. `None` for any other filter.
fn named_values(filter: &Filter) -> Option<HashSet<&str>> {
    match filter {
        Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(value)))
            if path.uri.is_none() && path.sub_attr.is_none() && path.name.eq_ignore_ascii_case("value") =>
        {
            Some(HashSet::from([value.as_str()]))
        }
        Filter::Or(any) => any.iter().map(named_values).try_fold(HashSet::new(), |mut all, one| {
            all.extend(one?);
            Some(all)
        }),
        _ => None,
    }
}

/// Returns the value that the filter describes. `None` unless the filter is one or more equality tests joined by `and`.
fn described(attribute: &Attribute, filter: &Filter) -> Option<Document> {
    let mut made = Document::new();
    let parts = match filter {
        Filter::And(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    for part in parts {
        let Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, value)) = part else { return None };
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

/// Returns `value` as an object. If the value has another type, first replaces it with an empty object.
pub(super) fn object(value: &mut Value) -> &mut Document {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        // The code above made it an object.
        _ => unreachable!("it is an object"),
    }
}
