//! Prepares a resource for a response: adds `schemas` and `meta`, and selects the requested attributes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use serde_json::{Map, Value, json};

use super::Document;
use super::schema::{ResolvedAttribute, Schema};

/// Returns the version of a resource: a weak entity tag with a digest of the content.
#[must_use]
pub fn version(document: &Document) -> String {
    let mut bare = document.clone();
    bare.remove("meta");
    let hash = digest::digest(&digest::SHA256, Value::Object(bare).to_string().as_bytes());
    let short = hash.as_ref().get(..12).unwrap_or_default();
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(short))
}

/// Adds `schemas` and `meta` to the resource. Keeps the timestamps that `meta` already contains.
pub(crate) fn complete(schema: &Schema, mut document: Document, base: &str) -> Document {
    let id = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = version(&document);
    let mut schemas = vec![Value::from(schema.id)];
    if let Some((extension, _)) = &schema.extension
        && document.contains_key(*extension)
    {
        schemas.push((*extension).into());
    }
    let mut meta = match document.remove("meta") {
        Some(Value::Object(meta)) => meta,
        _ => Map::new(),
    };
    meta.insert("resourceType".to_owned(), schema.name.into());
    meta.insert("location".to_owned(), format!("{base}/{}s/{id}", schema.name).into());
    meta.insert("version".to_owned(), version.into());
    document.insert("schemas".to_owned(), schemas.into());
    document.insert("meta".to_owned(), json!(meta));
    document
}

/// Selects attributes by `attributes` and `excludedAttributes` (RFC 7644 §3.9).
#[derive(Debug, Clone, Default)]
pub struct Projection {
    only: Option<Vec<String>>,
    without: Vec<String>,
}

/// The attributes in every response, requested or not.
const ALWAYS: [&str; 2] = ["id", "schemas"];

impl Projection {
    /// Reads the two parameters, both comma-separated lists.
    #[must_use]
    pub fn new(attributes: Option<&str>, excluded: Option<&str>) -> Self {
        let list = |text: &str| {
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        Self {
            only: attributes.map(list).filter(|names| !names.is_empty()),
            without: excluded.map(list).unwrap_or_default(),
        }
    }

    /// Returns the resource with only the requested attributes.
    #[must_use]
    pub fn apply(&self, schema: &Schema, document: Document) -> Document {
        let mut shown = match &self.only {
            None => document,
            Some(names) => {
                let mut shown = Document::new();
                for name in ALWAYS {
                    shown.extend(document.get(name).map(|value| (name.to_owned(), value.clone())));
                }
                for name in names {
                    copy(schema, &document, &mut shown, name);
                }
                shown
            }
        };
        for name in &self.without {
            remove(schema, &mut shown, name);
        }
        shown
    }
}

/// Splits a name into its extension (if any), attribute and sub-attribute.
fn place<'a>(schema: &'a Schema, name: &'a str) -> Option<(Option<&'static str>, &'a str, Option<&'a str>)> {
    let extension = schema.extension.as_ref().map(|(id, _)| *id);
    match schema.key(name) {
        (ResolvedAttribute::Core(attribute), sub) => {
            let sub = sub.and_then(|sub| attribute.sub(sub)).map(|sub| sub.name.as_str());
            Some((None, &attribute.name, sub))
        }
        (ResolvedAttribute::Extension(attribute), _) => Some((extension, &attribute.name, None)),
        (ResolvedAttribute::WholeExtension, _) => Some((None, extension?, None)),
        (ResolvedAttribute::NotKept | ResolvedAttribute::Nothing, _) => None,
    }
}

fn copy(schema: &Schema, from: &Document, to: &mut Document, name: &str) {
    let Some((extension, name, sub)) = place(schema, name) else { return };
    match extension {
        Some(id) => {
            let Some(value) = from.get(id).and_then(|holder| holder.get(name)) else { return };
            let holder = to.entry(id).or_insert_with(|| json!({}));
            if let Some(holder) = holder.as_object_mut() {
                holder.insert(name.to_owned(), value.clone());
            }
        }
        None => match (from.get(name), sub) {
            (Some(value), None) => drop(to.insert(name.to_owned(), value.clone())),
            (Some(Value::Object(map)), Some(sub)) => {
                let part = map.get(sub).map(|value| (sub.to_owned(), value.clone()));
                let holder = to.entry(name).or_insert_with(|| json!({}));
                if let Some(holder) = holder.as_object_mut() {
                    holder.extend(part);
                }
            }
            (Some(Value::Array(items)), Some(sub)) => {
                let narrowed = items.iter().map(|item| match item.get(sub) {
                    Some(value) => json!({ sub: value }),
                    None => json!({}),
                });
                to.insert(name.to_owned(), narrowed.collect());
            }
            _ => {}
        },
    }
}

fn remove(schema: &Schema, from: &mut Document, name: &str) {
    let Some((extension, name, sub)) = place(schema, name) else { return };
    let cannot = ALWAYS.contains(&name);
    match (extension, sub) {
        _ if cannot => {}
        (Some(id), _) => {
            if let Some(holder) = from.get_mut(id).and_then(Value::as_object_mut) {
                holder.remove(name);
            }
        }
        (None, None) => drop(from.remove(name)),
        (None, Some(sub)) => match from.get_mut(name) {
            Some(Value::Object(map)) => drop(map.remove(sub)),
            Some(Value::Array(items)) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| drop(item.remove(sub)));
            }
            _ => {}
        },
    }
}
