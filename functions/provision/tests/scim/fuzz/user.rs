//! The model of a user: the expected resource after a patch.

use serde_json::{Map, Value};

use super::dice::Op;
use super::emails::{Emails, Impossible};

pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const FLEX: &str = "urn:flexgate:params:scim:schemas:extension:flex:2.0:User";

/// The attributes whose value is a single string, as patch paths spell them.
pub const TEXTS: [&str; 6] =
    ["displayName", "name.formatted", "name.givenName", "name.familyName", "externalId", "locale"];

/// What a user must show.
#[derive(Debug, Clone)]
pub struct Model {
    user_name: String,
    asked_name: String,
    /// The values of `TEXTS`.
    texts: Map<String, Value>,
    /// The worker attributes.
    pub fields: Map<String, Value>,
    pub emails: Emails,
    pub active: bool,
    /// The names of the string attributes that the patch sets. Flexgate derives the full name from the given or family
    /// name only if the patch does not set the full name.
    set: Vec<String>,
    touched: Vec<String>,
    texts_before: Map<String, Value>,
}

impl Model {
    /// Builds the model from a user resource.
    pub fn shown(user: &Value) -> Self {
        let text = |name: &&str| {
            let pointer = format!("/{}", name.replace('.', "/"));
            user.pointer(&pointer).map(|value| ((*name).to_owned(), value.clone()))
        };
        let texts: Map<String, Value> = TEXTS.iter().filter_map(text).collect();
        Self {
            user_name: user["userName"].as_str().unwrap().to_owned(),
            asked_name: user["userName"].as_str().unwrap().to_owned(),
            texts_before: texts.clone(),
            texts,
            fields: user[FLEX].as_object().cloned().unwrap_or_default(),
            emails: Emails::shown(user),
            active: user["active"].as_bool().unwrap(),
            set: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Returns the value of a string attribute after the operations so far.
    pub fn now(&self, name: &str) -> Option<Value> {
        self.texts.get(name).cloned()
    }

    /// Adds, replaces or removes one text.
    pub fn text(&mut self, name: &str, op: Op, value: &Value) -> Result<(), Impossible> {
        self.touched.push(name.to_owned());
        match value {
            _ if op == Op::Remove => drop(self.texts.remove(name)),
            Value::Null => drop(self.texts.remove(name)),
            Value::String(_) => {
                self.set.push(name.to_owned());
                self.texts.insert(name.to_owned(), value.clone());
            }
            _ => return Err(Impossible),
        }
        Ok(())
    }

    /// Changes the parts of the name that the value contains, and keeps the others. Removes all parts if the operation
    /// is `remove` or the value is null.
    pub fn name(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        let parts = ["formatted", "givenName", "familyName"];
        match value {
            Value::Object(map) if op != Op::Remove => {
                for part in parts.iter().filter(|part| map.contains_key(**part)) {
                    self.text(&format!("name.{part}"), op, &map[*part])?;
                }
            }
            _ if op == Op::Remove || value.is_null() => {
                for part in parts {
                    self.text(&format!("name.{part}"), Op::Remove, &Value::Null)?;
                }
            }
            _ => return Err(Impossible),
        }
        Ok(())
    }

    /// Adds, replaces or removes a worker attribute: `language` (a string) or `skill_level` (a whole number).
    pub fn field(&mut self, name: &str, op: Op, value: &Value) -> Result<(), Impossible> {
        let read = match value {
            _ if op == Op::Remove => None,
            Value::Null => None,
            Value::String(text) if name == "skill_level" => Some(text.parse::<i64>().map_err(|_| Impossible)?.into()),
            Value::String(_) => Some(value.clone()),
            Value::Number(number) if name == "skill_level" && number.is_i64() => Some(value.clone()),
            _ => return Err(Impossible),
        };
        match read {
            Some(read) => drop(self.fields.insert(name.to_owned(), read)),
            None => drop(self.fields.remove(name)),
        }
        Ok(())
    }

    /// Sets `active`, which cannot be removed.
    pub fn activity(&mut self, op: Op, value: &Value) -> Result<bool, Impossible> {
        let read = match value {
            _ if op == Op::Remove => None,
            Value::Bool(value) => Some(*value),
            Value::String(text) => text.to_lowercase().parse().ok(),
            _ => None,
        };
        self.active = read.ok_or(Impossible)?;
        Ok(self.active)
    }

    /// Sets the `userName`, which cannot be removed.
    pub fn user_name(&mut self, op: Op, value: &Value) -> Result<(), Impossible> {
        value.as_str().filter(|_| op != Op::Remove).ok_or(Impossible)?.clone_into(&mut self.asked_name);
        Ok(())
    }

    /// Whether a user with these values can exist: the new `userName` may differ from the old one only in upper and
    /// lower case, and the locale must contain no spaces. The test calls this only after the last operation.
    pub fn is_possible(&self) -> bool {
        let locale = self.texts.get("locale").and_then(Value::as_str).unwrap_or("en");
        self.asked_name.eq_ignore_ascii_case(&self.user_name) && !locale.contains(' ')
    }

    /// Returns the differences between the model and the resource.
    pub fn differences(&self, user: &Value) -> Vec<String> {
        let shown = Self::shown(user);
        let mut wrong = Vec::new();
        let mut differs = |what: &str, is: String, asked: String| {
            if is != asked {
                wrong.push(format!("{what} is {is}, asked was {asked}"));
            }
        };
        for name in TEXTS {
            if !self.follows(name) {
                differs(name, format!("{:?}", shown.texts.get(name)), format!("{:?}", self.texts.get(name)));
            }
        }
        differs("the worker's attributes", format!("{:?}", shown.fields), format!("{:?}", self.fields));
        differs("active", shown.active.to_string(), self.active.to_string());
        if self.emails.is_empty() {
            // Flex requires an e-mail address, so the `userName` replaces a missing address.
            differs("the address", format!("{:?}", shown.emails.chosen()), format!("{:?}", Some(&self.user_name)));
        } else {
            differs("emails", format!("{:?}", shown.emails.as_set()), format!("{:?}", self.emails.as_set()));
        }
        wrong
    }

    /// Whether Flexgate may have derived a new value of the attribute `name`, because other parts of the person's name
    /// have changed. The model does not predict such a value.
    fn follows(&self, name: &str) -> bool {
        let changed = |part: &str| self.texts.get(part) != self.texts_before.get(part);
        let halves = changed("name.givenName") || changed("name.familyName");
        let is_named = |name: &str| self.set.iter().any(|set| set == name);
        let touched = |name: &str| self.touched.iter().any(|touched| touched == name);
        match name {
            "displayName" => !touched(name) && (halves || changed("name.formatted")),
            "name.formatted" => !is_named(name) && !touched(name) && halves,
            _ => false,
        }
    }

    /// Returns the differences between the resource and Flex. For an inactive user, compares only `active`, because
    /// Flex receives all other changes only when the user is reactivated.
    pub fn differences_at_flex(user: &Value, twilio: &Value) -> Vec<String> {
        let shown = Self::shown(user);
        let mut wrong = Vec::new();
        let mut differs = |what: &str, is: &Value, shown: Value| {
            if *is != shown {
                wrong.push(format!("Twilio's {what} is {is}, shown is {shown}"));
            }
        };
        differs("deactivated", &twilio["deactivated"], (!shown.active).into());
        if !shown.active {
            return wrong;
        }
        let text =
            |name: &str| shown.texts.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let halves: Vec<_> = ["name.givenName", "name.familyName"].into_iter().filter_map(text).collect();
        let joined = (!halves.is_empty()).then(|| halves.join(" "));
        let full = text("displayName").or(text("name.formatted")).map(str::to_owned).or(joined);
        differs("full name", &twilio["full_name"], full.unwrap_or_else(|| shown.user_name.clone()).into());
        differs("address", &twilio["email"], shown.emails.chosen().unwrap_or(&shown.user_name).into());
        for (name, value) in &shown.fields {
            differs(name, &twilio["worker"]["attributes"][name], value.clone());
        }
        if let Some(locale) = shown.texts.get("locale") {
            differs("locale", &twilio["locale"], locale.clone());
        }
        wrong
    }
}
