//! A Flex user's `TaskRouter` worker: attributes, activity and channels.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::directory::FlexUser;
use crate::{ACCOUNT_SID, WORKSPACE_SID, clock, random};

/// The activities: SID, name, and whether `TaskRouter` offers tasks to the worker.
pub(crate) const ACTIVITIES: [(&str, &str, bool); 4] = [
    ("WA00000000000000000000000000000001", "Offline", false),
    ("WA00000000000000000000000000000002", "Available", true),
    ("WA00000000000000000000000000000003", "Break", false),
    ("WA00000000000000000000000000000004", "Unavailable", false),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) sid: String,
    /// The worker's name if it is not the username.
    #[serde(default)]
    pub(crate) friendly_name: Option<String>,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) channels: Map<String, Value>,
    pub(crate) activity_sid: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) activity_changed: i64,
    pub(crate) version: u64,
}

impl Worker {
    pub(crate) fn new(now: i64) -> Self {
        Self {
            sid: random::sid("WK"),
            friendly_name: None,
            attributes: Map::new(),
            channels: Map::new(),
            activity_sid: ACTIVITIES[0].0.to_owned(),
            created: now,
            updated: now,
            activity_changed: now,
            version: 0,
        }
    }

    pub(crate) fn activity(&self) -> (&'static str, &'static str, bool) {
        ACTIVITIES.into_iter().find(|(sid, _, _)| *sid == self.activity_sid).unwrap_or(ACTIVITIES[0])
    }

    /// Sets the attributes and channels from a provision request. A key's suffix names the type of its value.
    pub(crate) fn set_attributes(&mut self, given: &Map<String, Value>) -> Result<(), String> {
        let mut attributes = Map::new();
        for (key, value) in given {
            if let Some((channel, property)) = key.strip_prefix("channel.").and_then(|rest| rest.rsplit_once('.')) {
                let parsed = match property {
                    "capacity" => as_int(value),
                    "availability" => as_bool(value),
                    _ => None,
                };
                let parsed = parsed.ok_or_else(|| format!("worker.attributes.{key} is not valid"))?;
                let entry = self.channels.entry(channel).or_insert_with(|| json!({}));
                if let Some(members) = entry.as_object_mut() {
                    members.insert(property.to_owned(), parsed);
                }
                continue;
            }
            let (name, kind) = key.rsplit_once('.').map_or((key.as_str(), "string"), |(name, kind)| (name, kind));
            let typed = typed(kind, value);
            let (name, typed) = match typed {
                Some(typed) => (name, typed),
                None if KINDS.contains(&kind) && key.contains('.') => {
                    return Err(format!("worker.attributes.{key} is not valid"));
                }
                // The key has no known suffix, so the whole key is the attribute's name.
                None => (key.as_str(), value.clone()),
            };
            attributes.insert(name.to_owned(), typed);
        }
        self.attributes = attributes;
        Ok(())
    }

    /// The worker as JSON, in the format of Twilio's event bridge, through which the SDK reads its worker.
    pub(crate) fn payload(&self, user: &FlexUser) -> Value {
        let (activity_sid, activity_name, available) = self.activity();
        json!({
            "account_sid": ACCOUNT_SID, "activity_name": activity_name, "activity_sid": activity_sid,
            "attributes": Value::Object(self.full_attributes(user)).to_string(), "available": available,
            "date_activity_changed": clock::rfc3339(self.activity_changed), "date_created": clock::rfc3339(self.created),
            "date_status_changed": clock::rfc3339(self.activity_changed), "date_updated": clock::rfc3339(self.updated),
            "friendly_name": self.friendly_name.as_ref().unwrap_or(&user.username), "previous_activity_sid": null, "sid": self.sid, "worker_sid": self.sid,
            "worker_activity_sid": null, "workspace_sid": WORKSPACE_SID, "version": self.version.to_string(),
        })
    }

    pub(crate) fn full_attributes(&self, user: &FlexUser) -> Map<String, Value> {
        let mut attributes = self.attributes.clone();
        attributes.insert("contact_uri".to_owned(), format!("client:{}", user.identity()).into());
        attributes.insert("full_name".to_owned(), user.full_name.as_str().into());
        attributes.insert("email".to_owned(), user.email.as_str().into());
        attributes.insert("roles".to_owned(), json!(user.roles));
        attributes
    }
}

const KINDS: [&str; 6] = ["string", "int", "boolean", "stringarray", "intarray", "booleanarray"];

fn typed(kind: &str, value: &Value) -> Option<Value> {
    let list = |one: fn(&Value) -> Option<Value>| -> Option<Value> {
        let items: Vec<Value> = match value {
            Value::Array(items) => items.clone(),
            Value::String(text) => text.split(',').map(|item| Value::from(item.trim())).collect(),
            single => vec![single.clone()],
        };
        items.iter().map(one).collect::<Option<Vec<_>>>().map(Value::from)
    };
    match kind {
        "string" => Some(value.clone()),
        "int" => as_int(value),
        "boolean" => as_bool(value),
        "stringarray" => list(|item| Some(item.clone())),
        "intarray" => list(as_int),
        "booleanarray" => list(as_bool),
        _ => None,
    }
}

fn as_int(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) => number.as_i64().map(Value::from),
        Value::String(text) => text.trim().parse::<i64>().ok().map(Value::from),
        _ => None,
    }
}

fn as_bool(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(flag) => Some(Value::from(*flag)),
        Value::String(text) => text.trim().parse::<bool>().ok().map(Value::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_types_an_attribute_and_channels_are_set_apart() {
        let mut worker = Worker::new(0);
        let given = json!({ "team": "blue", "skills.stringarray": "a, b", "level.int": "3", "vip.boolean": true,
            "channel.chat.capacity": "2", "note.of.day": "x" });
        worker.set_attributes(given.as_object().unwrap()).unwrap();
        assert_eq!(
            Value::Object(worker.attributes),
            json!({ "team": "blue", "skills": ["a", "b"], "level": 3, "vip": true, "note.of.day": "x" })
        );
        assert_eq!(Value::Object(worker.channels), json!({ "chat": { "capacity": 2 } }));
        let wrong = json!({ "level.int": "three" });
        assert!(Worker::new(0).set_attributes(wrong.as_object().unwrap()).is_err());
    }
}
