//! The model of a group: the expected resource after a patch.

use std::collections::BTreeSet;

use serde_json::Value;

use super::dice::Op;
use super::emails::Impossible;

/// What a group must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub display_name: String,
    pub external_id: Option<String>,
    pub members: BTreeSet<String>,
}

impl Model {
    pub fn shown(group: &Value) -> Self {
        let members = group["members"].as_array().unwrap().iter();
        Self {
            display_name: group["displayName"].as_str().unwrap().to_owned(),
            external_id: group["externalId"].as_str().map(str::to_owned),
            members: members.map(|member| member["value"].as_str().unwrap().to_owned()).collect(),
        }
    }

    /// Sets the name. A group must have a name.
    pub fn display_name(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        match value.as_str() {
            Some(name) if op != Op::Remove => {
                name.clone_into(&mut self.display_name);
                Ok(())
            }
            _ => Err(Impossible),
        }
    }

    /// Whether a group with these values can exist. The name must be neither empty nor "Taken", which is the name of
    /// another group. All members must be users. The test calls this only after the last operation.
    pub fn is_possible(&self) -> bool {
        let name = self.display_name.trim();
        let is_free = !name.is_empty() && !name.eq_ignore_ascii_case("taken");
        is_free && self.members.iter().all(|member| member.starts_with("FU"))
    }

    pub fn external_id(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        self.external_id = match value {
            _ if op == Op::Remove => None,
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => return Err(Impossible),
        };
        Ok(())
    }

    /// Applies an operation to the whole list of members.
    pub fn members(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        if value.is_null() {
            // A `remove` without a value removes all members. So does an `add` or a `replace` with null.
            self.members.clear();
            return Ok(());
        }
        let listed = match value {
            Value::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let read = listed.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        let is_vague = read.contains(&None);
        let read: BTreeSet<String> = read.into_iter().flatten().collect();
        match op {
            Op::Remove if is_vague => return Err(Impossible),
            Op::Remove => self.members.retain(|member| !read.contains(member)),
            Op::Replace if read.is_empty() && !listed.is_empty() && !self.members.is_empty() => return Err(Impossible),
            Op::Replace => self.members = read,
            Op::Add => self.members.extend(read),
        }
        Ok(())
    }

    /// Applies an operation to the members `names`, which a filter selects. A `remove` removes them. An `add` or a
    /// `replace` also removes them, and then adds the member `by`.
    pub fn named(&mut self, op: Op, names: &[String], by: Option<&String>, by_key: bool) -> Result<(), Impossible> {
        let selected: Vec<String> = names.iter().filter(|name| self.members.contains(*name)).cloned().collect();
        match (op, by) {
            (Op::Remove, _) => self.members.retain(|member| !names.contains(member)),
            (_, None) => return Err(Impossible),
            (op, Some(by)) => {
                if selected.is_empty() && (op == Op::Add || by_key || self.members.is_empty()) && names.len() > 1 {
                    // A filter with "or" describes several members, so Flexgate cannot tell which member to create.
                    return Err(Impossible);
                }
                if selected.is_empty() && op == Op::Replace && !by_key && !self.members.is_empty() {
                    return Err(Impossible);
                }
                self.members.retain(|member| !selected.contains(member));
                self.members.insert(by.clone());
            }
        }
        Ok(())
    }
}

/// Reads a member in any form that clients send. Returns `None` for a member without a value.
fn member(value: &Value) -> Result<Option<String>, Impossible> {
    let id = match value {
        Value::Null => return Ok(None),
        Value::Object(map) => match map.get("value") {
            None | Some(Value::Null) if map.keys().all(|key| key == "value") => return Ok(None),
            Some(Value::String(id)) => id,
            _ => return Err(Impossible),
        },
        Value::String(id) => id,
        _ => return Err(Impossible),
    };
    Ok(Some(id.clone()))
}
