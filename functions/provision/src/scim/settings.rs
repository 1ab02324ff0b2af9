//! The SCIM settings.

use std::str::FromStr;

use flexgate::base::settings::Reader;
use serde_json::Value;

use super::protocol::{Attribute, Kind};

/// How SCIM is served.
#[derive(Debug, Clone)]
pub struct ScimSettings {
    /// `SCIM_TOKENS_SECRET_ID`: the secret with the token hashes.
    pub tokens_secret_id: String,
    /// `FLEXGATE_SCIM_ATTRIBUTES`: which worker attributes may be written.
    pub worker_fields: WorkerFields,
}

impl ScimSettings {
    /// Reads the settings. Without `SCIM_TOKENS_SECRET_ID`, Flexgate does not serve SCIM.
    pub fn read(reader: &mut Reader) -> Option<Option<Self>> {
        let secret_id = reader.text("SCIM_TOKENS_SECRET_ID").map(str::to_owned);
        let worker_fields = reader.or("FLEXGATE_SCIM_ATTRIBUTES", WorkerFields::default());
        let worker_fields = worker_fields?;
        Some(secret_id.map(|tokens_secret_id| Self { tokens_secret_id, worker_fields }))
    }
}

/// The writable worker attributes, such as `language.string`, `skill_level.int` and `remote.boolean`.
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
                // The setting must not contain `contact_uri`, because a SCIM client that may write this attribute
                // could redirect other people's calls.
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
    /// The fields as attributes of the extension.
    pub(super) fn attributes(&self) -> Vec<Attribute> {
        let kind = |field: &Field| match field.kind {
            FieldKind::String => Kind::Text,
            FieldKind::Int => Kind::Integer,
            FieldKind::Boolean => Kind::Boolean,
        };
        self.0.iter().map(|field| Attribute::new(&field.name, kind(field), "A worker attribute.")).collect()
    }

    /// Returns the fields in Flex's format, with the type at the end of each name. Leaves out fields that are not
    /// writable.
    pub(super) fn for_flex(&self, written: Option<&serde_json::Map<String, Value>>) -> serde_json::Map<String, Value> {
        let typed = |field: &Field| {
            let suffix = match field.kind {
                FieldKind::String => "string",
                FieldKind::Int => "int",
                FieldKind::Boolean => "boolean",
            };
            Some((format!("{}.{suffix}", field.name), written?.get(&field.name)?.clone()))
        };
        self.0.iter().filter_map(typed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_attributes_are_listed_by_type_and_never_redirect_calls() {
        assert!("language.string, level.int,remote.boolean".parse::<WorkerFields>().is_ok());
        for wrong in ["contact_uri.string", "a.date", "a b", "a,a", "1a", "channel.voice.capacity"] {
            assert!(wrong.parse::<WorkerFields>().is_err(), "{wrong}");
        }
    }
}
