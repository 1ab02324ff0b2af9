//! SCIM's part of the configuration.

use std::collections::BTreeMap;
use std::str::FromStr;

use flexgate::base::settings::Reader;
use flexgate::domain::{Role, RoleSet};
use flexgate::store::directory::folded;
use flexgate::users::LastAdmin;
use serde_json::Value;

use super::protocol::{Attribute, Kind};

/// How SCIM is served.
#[derive(Debug, Clone)]
pub struct ScimSettings {
    /// `SCIM_TOKENS_SECRET_ID`: the secret with the hashes of the tokens.
    pub tokens_secret_id: String,
    /// `FLEXGATE_SCIM_GROUP_ROLES`: which group gives which role.
    pub group_roles: GroupRoles,
    /// `FLEXGATE_SCIM_ATTRIBUTES`: which worker attributes may be written.
    pub worker_fields: WorkerFields,
    /// `FLEXGATE_SCIM_LAST_ADMIN`: whether the last administrator can be taken away.
    pub last_admin: LastAdmin,
}

impl ScimSettings {
    /// Reads the group; without `SCIM_TOKENS_SECRET_ID` SCIM is not served at all.
    pub fn read(reader: &mut Reader) -> Option<Option<Self>> {
        let secret_id = reader.text("SCIM_TOKENS_SECRET_ID").map(str::to_owned);
        let group_roles = reader.or("FLEXGATE_SCIM_GROUP_ROLES", GroupRoles::default());
        let worker_fields = reader.or("FLEXGATE_SCIM_ATTRIBUTES", WorkerFields::default());
        let last_admin = reader.or("FLEXGATE_SCIM_LAST_ADMIN", LastAdmin::Protected);
        let (group_roles, worker_fields, last_admin) = (group_roles?, worker_fields?, last_admin?);
        Some(secret_id.map(|tokens_secret_id| Self { tokens_secret_id, group_roles, worker_fields, last_admin }))
    }
}

/// Which group gives which role, by the group's name without regard to case. Any other group gives none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRoles(BTreeMap<String, Role>);

impl GroupRoles {
    /// The role of the group of that name.
    #[must_use]
    pub fn of(&self, display_name: &str) -> Option<Role> {
        self.0.get(&folded(display_name)).copied()
    }
}

impl FromStr for GroupRoles {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str = "must be a JSON object of group names and roles, like {\"Flex Agents\": \"agent\"}";
        let map: BTreeMap<String, Role> = serde_json::from_str(text).map_err(|_| MUST)?;
        let count = map.len();
        let folded: BTreeMap<_, _> = map.into_iter().map(|(name, role)| (folded(&name), role)).collect();
        if folded.len() == count { Ok(Self(folded)) } else { Err("names a group twice") }
    }
}

/// The worker attributes that may be written: `language.string`, `skill_level.int`, `remote.boolean`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerFields(Vec<Field>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    String,
    Int,
    Boolean,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    kind: FieldKind,
}

impl FromStr for WorkerFields {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str =
            "must be a comma-separated list of worker attributes, like language.string,skill_level.int,remote.boolean";
        let field = |text: &str| {
            let (name, kind) = text.split_once('.').unwrap_or((text, "string"));
            let kind = match kind {
                "string" => FieldKind::String,
                "int" => FieldKind::Int,
                "boolean" => FieldKind::Boolean,
                _ => return None,
            };
            let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
                // Whoever could write it would receive somebody else's calls.
                && !name.eq_ignore_ascii_case("contact_uri");
            plain.then(|| Field { name: name.to_owned(), kind })
        };
        let fields: Option<Vec<_>> = text.split(',').map(|item| field(item.trim())).collect();
        let fields = fields.filter(|fields| fields.len() <= 32).ok_or(MUST)?;
        let mut names: Vec<_> = fields.iter().map(|field| field.name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) { Err("names an attribute twice") } else { Ok(Self(fields)) }
    }
}

impl WorkerFields {
    /// As attributes of the extension.
    pub(super) fn attributes(&self) -> Vec<Attribute> {
        let kind = |field: &Field| match field.kind {
            FieldKind::String => Kind::Text,
            FieldKind::Int => Kind::Integer,
            FieldKind::Boolean => Kind::Boolean,
        };
        self.0.iter().map(|field| Attribute::new(&field.name, kind(field), "A worker attribute.")).collect()
    }

    /// As Flex takes them: keys with their type. What was there `before` and no longer is becomes empty,
    /// since Flex forgets no attribute.
    pub(super) fn for_flex(
        &self,
        before: Option<&serde_json::Map<String, Value>>,
        now: Option<&serde_json::Map<String, Value>>,
    ) -> serde_json::Map<String, Value> {
        let mut all = serde_json::Map::new();
        for field in &self.0 {
            let had = before.is_some_and(|map| map.contains_key(&field.name));
            let (suffix, empty) = match field.kind {
                FieldKind::String => ("string", Value::from("")),
                FieldKind::Int => ("int", Value::from(0)),
                FieldKind::Boolean => ("boolean", Value::from(false)),
            };
            let value = now.and_then(|map| map.get(&field.name)).cloned().or_else(|| had.then_some(empty));
            if let Some(value) = value {
                all.insert(format!("{}.{suffix}", field.name), value);
            }
        }
        all
    }
}

/// The roles these groups give.
pub(super) fn given_by<'a>(roles: &GroupRoles, names: impl Iterator<Item = &'a str>) -> RoleSet {
    names.filter_map(|name| roles.of(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_gives_its_role_in_any_case_and_no_other_group_gives_any() {
        let roles: GroupRoles = r#"{"Flex Agents": "agent", "Leads": "supervisor"}"#.parse().unwrap();
        assert_eq!(roles.of("flex agents"), Some(Role::Agent));
        assert_eq!(roles.of("Flex"), None);
        assert!(r#"{"A": "agent", "a": "admin"}"#.parse::<GroupRoles>().is_err());
        assert!(r#"{"A": "owner"}"#.parse::<GroupRoles>().is_err());
    }

    #[test]
    fn worker_attributes_are_listed_by_type_and_never_redirect_calls() {
        assert!("language.string, level.int,remote.boolean".parse::<WorkerFields>().is_ok());
        for wrong in ["contact_uri.string", "a.date", "a b", "a,a", "1a", "channel.voice.capacity"] {
            assert!(wrong.parse::<WorkerFields>().is_err(), "{wrong}");
        }
    }
}
