//! The model of a user's e-mail addresses.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::dice::{Dice, Op};

/// An e-mail address as a JSON object, with optional `value`, `type` and `primary`.
type Email = Map<String, Value>;

/// A filter that selects addresses. `wants` contains the members that an address must have to be selected.
#[derive(Debug, Clone)]
pub struct Selects {
    pub filter: String,
    wants: Email,
}

impl Selects {
    pub fn random(dice: &mut Dice, present: &Emails) -> Self {
        let kind = dice.pick(&["work", "home", "other", "WORK"]);
        let values: Vec<_> = present.0.iter().filter_map(|email| email.get("value")).cloned().collect();
        let value =
            if values.is_empty() || dice.percent(20) { json!("nobody@example.com") } else { dice.pick(&values) };
        let (filter, wants) = match dice.below(5) {
            0 => (format!("{} eq {value}", dice.cased("value")), json!({ "value": value })),
            1 => ("primary eq true".to_owned(), json!({ "primary": true })),
            2 => ("primary eq \"True\"".to_owned(), json!({ "primary": true })),
            3 => (format!("type eq \"{kind}\" and primary eq true"), json!({ "type": kind, "primary": true })),
            _ => (format!("{} {} \"{kind}\"", dice.cased("type"), dice.pick(&["eq", "EQ"])), json!({ "type": kind })),
        };
        Self { filter, wants: wants.as_object().unwrap().clone() }
    }

    fn takes(&self, email: &Email) -> bool {
        let folded = |value: &Value| value.to_string().to_lowercase();
        self.wants.iter().all(|(name, wanted)| email.get(name).is_some_and(|value| folded(value) == folded(wanted)))
    }
}

/// The model of a user's e-mail addresses. The model applies each patch as RFC 7644 requires.
#[derive(Debug, Clone, PartialEq)]
pub struct Emails(Vec<Email>);

/// No SCIM resource can represent the result of the request, so Flexgate must refuse the request.
#[derive(Debug)]
pub struct Impossible;

impl Emails {
    pub fn shown(user: &Value) -> Self {
        let list = user["emails"].as_array().cloned().unwrap_or_default();
        Self(list.iter().map(|email| email.as_object().unwrap().clone()).collect())
    }

    /// Returns the addresses as a set, for comparisons without order.
    pub fn as_set(&self) -> BTreeSet<String> {
        self.0.iter().map(|email| json!(email).to_string()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the address that Flex must get: the primary address, otherwise the work address, and otherwise the first
    /// address.
    pub fn chosen(&self) -> Option<&str> {
        let with_value = || self.0.iter().filter(|email| email.contains_key("value"));
        let primary = with_value().find(|email| email.get("primary") == Some(&json!(true)));
        let is_work = |email: &&Email| email["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("work"));
        let work = with_value().filter(|email| email.contains_key("type")).find(is_work);
        primary.or(work).or_else(|| with_value().next())?.get("value")?.as_str()
    }

    /// An operation on the whole list.
    pub fn whole(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        let given = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let read: Vec<Option<Email>> = given.iter().map(read).collect::<Result<_, _>>()?;
        let read: Vec<Email> = read.into_iter().flatten().collect();
        self.change(|emails| {
            match op {
                Op::Remove if value.is_null() => emails.clear(),
                // If the list of addresses to remove contains an empty one, Flexgate must refuse the request, because
                // the client could mean all addresses.
                Op::Remove if read.len() < given.len() => return Err(Impossible),
                Op::Remove => emails.retain(|email| !read.iter().any(|read| same(read, email))),
                // Null removes all addresses. But a `replace` with only empty values is refused if there are addresses.
                _ if value.is_null() => emails.clear(),
                Op::Replace if read.is_empty() && !given.is_empty() && !emails.is_empty() => return Err(Impossible),
                Op::Replace => *emails = read,
                Op::Add => emails.extend(read),
            }
            Ok(())
        })
    }

    /// Applies an operation to the selected addresses, or to the member `sub` of each. With `by_key`, the filter is in
    /// a key of the operation's value. In that case, a `replace` that selects no address creates one.
    pub fn selected(
        &mut self,
        op: Op,
        selects: &Selects,
        sub: Option<&str>,
        value: &Value,
        by_key: bool,
    ) -> Result<(), Impossible> {
        let removes = op == Op::Remove || value.is_null();
        let changes = match sub {
            Some(sub) => Map::from_iter([(sub.to_owned(), value.clone())]),
            None if removes => Email::new(),
            None => value.as_object().cloned().ok_or(Impossible)?,
        };
        let read = if removes { Email::new() } else { read(&changes.clone().into())?.unwrap_or_default() };
        self.change(|emails| {
            let was_empty = emails.is_empty();
            let mut found = false;
            for email in emails.iter_mut().filter(|email| selects.takes(email)) {
                found = true;
                match sub {
                    Some(sub) if removes => drop(email.remove(sub)),
                    None if removes => email.clear(),
                    None if op == Op::Replace && read.is_empty() => return Err(Impossible),
                    None if op == Op::Replace => email.clone_from(&read),
                    _ => {
                        email.retain(|name, _| changes.get(name) != Some(&Value::Null));
                        email.extend(read.clone());
                    }
                }
            }
            emails.retain(|email| !email.is_empty());
            if !found && !removes && !read.is_empty() {
                if op == Op::Replace && !by_key && !was_empty {
                    return Err(Impossible);
                }
                let mut made = selects.wants.clone();
                made.extend(read.clone());
                emails.push(made);
            }
            Ok(())
        })
    }

    /// Applies a change. Then removes duplicates, and leaves at most one address primary: the last one to become
    /// primary.
    fn change(&mut self, change: impl FnOnce(&mut Vec<Email>) -> Result<(), Impossible>) -> Result<(), Impossible> {
        let old = self.0.clone();
        change(&mut self.0)?;
        let mut once: Vec<Email> = Vec::new();
        for email in self.0.drain(..) {
            if !once.contains(&email) {
                once.push(email);
            }
        }
        let primary = |email: &Email| email.get("primary") == Some(&json!(true));
        let newest = once.iter().rposition(|email| primary(email) && !old.contains(email));
        if let Some(keep) = newest.or_else(|| once.iter().position(primary)) {
            for (index, email) in once.iter_mut().enumerate() {
                if index != keep && primary(email) {
                    email.insert("primary".to_owned(), false.into());
                }
            }
        }
        self.0 = once;
        Ok(())
    }
}

fn same(listed: &Email, email: &Email) -> bool {
    match (listed.get("value"), email.get("value")) {
        (Some(listed), Some(value)) => listed == value,
        _ => listed == email,
    }
}

/// Reads an address in any form that clients send. Returns `None` for an empty address.
fn read(value: &Value) -> Result<Option<Email>, Impossible> {
    let map = match value {
        Value::Null => return Ok(None),
        Value::String(text) => return Ok(Some(Map::from_iter([("value".to_owned(), text.as_str().into())]))),
        Value::Object(map) => map,
        _ => return Err(Impossible),
    };
    let mut email = Email::new();
    for (name, value) in map {
        let value = match (name.as_str(), value) {
            (_, Value::Null) => continue,
            ("primary", Value::Bool(_)) | ("value" | "type", Value::String(_)) => value.clone(),
            ("primary", Value::String(text)) => match text.to_lowercase().as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => return Err(Impossible),
            },
            ("value" | "type" | "primary", _) => return Err(Impossible),
            _ => continue,
        };
        email.insert(name.clone(), value);
    }
    Ok((!email.is_empty()).then_some(email))
}

/// Returns a random address. Sometimes the address is empty or invalid.
pub fn random(dice: &mut Dice) -> Value {
    let value = format!("a{}@{}.example", dice.below(4), dice.pick(&["work", "home"]));
    if dice.percent(5) {
        return dice.pick(&[
            json!(7),
            json!([]),
            json!({ "value": 7 }),
            json!({ "primary": "yes" }),
            json!({}),
            Value::Null,
        ]);
    }
    if dice.percent(15) {
        return value.into();
    }
    let mut email = Map::from_iter([("value".to_owned(), value.into())]);
    if dice.percent(80) {
        email.insert("type".to_owned(), dice.pick(&["work", "home", "other"]).into());
    }
    if dice.percent(40) {
        email.insert("primary".to_owned(), dice.pick(&[json!(true), json!("True"), json!(false), Value::Null]));
    }
    if dice.percent(10) {
        email.insert("display".to_owned(), "ignored".into());
    }
    email.into()
}

/// A random value for the whole list.
pub fn random_list(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0 => random(dice),
        1 => json!([]),
        2 => Value::Null,
        _ => (0..=dice.below(3)).map(|_| random(dice)).collect(),
    }
}
