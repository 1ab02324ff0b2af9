//! The supported SCIM attributes, and the normalization of their values.
//!
//! The case of attribute names is ignored (RFC 7643 §2.1). Entra may send `"False"` for a boolean, or a number as a
//! string, so Flexgate converts each value to the attribute's type. It drops unknown attributes, because identity
//! systems send many attributes that Flex cannot store.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

use super::error::value as wrong;
use super::{Document, ProtocolError};

/// The core schema of users.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core schema of groups.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise extension: accepted but never stored.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Attributes of RFC 7643 that identity systems send by default but Flex cannot store. The list includes attributes of
/// the enterprise extension, because Entra may send them without the extension's URN.
const NOT_KEPT: [&str; 19] = [
    "nickName",
    "profileUrl",
    "title",
    "userType",
    "preferredLanguage",
    "timezone",
    "password",
    "addresses",
    "phoneNumbers",
    "ims",
    "photos",
    "entitlements",
    "x509Certificates",
    "employeeNumber",
    "costCenter",
    "organization",
    "division",
    "department",
    "manager",
];

/// Sub-attributes of `name` that Flex cannot store (RFC 7643 §4.1.1).
const NAME_NOT_KEPT: [&str; 3] = ["middleName", "honorificPrefix", "honorificSuffix"];

/// Sub-attributes that the values of any list may have (RFC 7643 §2.4).
const OF_ANY_LIST: [&str; 5] = ["type", "primary", "display", "value", "$ref"];

/// The type of an attribute's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A timestamp in the format of RFC 3339.
    DateTime,
    /// The value is the URL or the id of a resource of one of these types.
    Reference(&'static [&'static str]),
    /// Sub-attributes.
    Complex(Vec<Attribute>),
}

/// Who may write an attribute, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// The client, always.
    ReadWrite,
    /// The client, but only once.
    Immutable,
    /// Only Flexgate.
    ReadOnly,
}

/// The definition of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the characteristics of RFC 7643 §2.2")]
pub struct Attribute {
    /// The attribute's name, as Flexgate spells it.
    pub name: String,
    /// The type of its values.
    pub kind: Kind,
    /// Whether it holds a list of values.
    pub multi_valued: bool,
    /// Whether every resource must have it.
    pub required: bool,
    /// Whether comparisons are case-sensitive.
    pub case_exact: bool,
    /// Whether every resource needs a different value.
    pub unique: bool,
    /// Who may write it.
    pub mutability: Mutability,
    /// The allowed values. If empty, every value is allowed.
    pub canonical: Vec<&'static str>,
    /// Whether the client may send the value inside a string that contains JSON. Entra may send the role `agent` as the
    /// string `{"id": "…", "value": "agent", "displayName": "Agent"}`.
    pub json_text: bool,
    /// What it is for.
    pub description: &'static str,
}

impl Attribute {
    pub(crate) fn new(name: impl Into<String>, kind: Kind, description: &'static str) -> Self {
        Self {
            name: name.into(),
            kind,
            multi_valued: false,
            required: false,
            case_exact: false,
            unique: false,
            mutability: Mutability::ReadWrite,
            canonical: Vec::new(),
            json_text: false,
            description,
        }
    }

    pub(crate) fn many(mut self) -> Self {
        self.multi_valued = true;
        self
    }

    pub(crate) fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(crate) fn exact(mut self) -> Self {
        self.case_exact = true;
        self
    }

    pub(crate) fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Allows the client to send the value inside a string that contains JSON. See [`Attribute::json_text`].
    pub(crate) fn or_json_text(mut self) -> Self {
        self.json_text = true;
        self
    }

    pub(crate) fn only(mut self, mutability: Mutability) -> Self {
        self.mutability = mutability;
        self
    }

    pub(crate) fn among(mut self, canonical: impl IntoIterator<Item = &'static str>) -> Self {
        self.canonical = canonical.into_iter().collect();
        self
    }

    /// The sub-attribute with this name.
    #[must_use]
    pub fn sub(&self, name: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Complex(subs) => named(subs, name),
            _ => None,
        }
    }

    /// Whether RFC 7643 defines this sub-attribute and Flexgate ignores it.
    pub(super) fn ignores_sub(&self, name: &str) -> bool {
        let known: &[&str] = match &self.kind {
            Kind::Complex(_) if self.multi_valued => &OF_ANY_LIST,
            Kind::Complex(_) if self.name == "name" => &NAME_NOT_KEPT,
            _ => &[],
        };
        self.sub(name).is_none() && known.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Normalizes the client's value. Returns `None` for "no value".
    pub(super) fn read(&self, value: &Value) -> Result<Option<Value>, ProtocolError> {
        if !self.multi_valued {
            return self.read_one(value);
        }
        let given = match value {
            Value::Array(values) => values.iter().collect(),
            single => vec![single],
        };
        let (mut read, mut seen) = (Vec::new(), HashSet::new());
        for value in given {
            if let Some(value) = self.read_one(value)?
                && seen.insert(value.to_string())
            {
                read.push(value);
            }
        }
        Ok((!read.is_empty()).then_some(Value::Array(read)))
    }

    /// Returns the text. If the attribute allows it ([`Attribute::json_text`]), and the text is a JSON object, returns
    /// the string `value` in this object instead.
    pub(super) fn plain<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let inner = || {
            let document: Value = serde_json::from_str(text).ok().filter(|_| self.json_text)?;
            Some(document.get("value")?.as_str()?.to_owned())
        };
        inner().map_or(Cow::Borrowed(text), Cow::Owned)
    }

    /// Normalizes one value, such as an item of a list.
    pub(super) fn read_one(&self, value: &Value) -> Result<Option<Value>, ProtocolError> {
        let read = match (&self.kind, value) {
            (_, Value::Null) => return Ok(None),
            (Kind::Text, Value::String(text)) if self.json_text => self.plain(text).into(),
            (Kind::Text | Kind::DateTime | Kind::Reference(_), Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => {
                value.clone()
            }
            (Kind::Text | Kind::DateTime | Kind::Reference(_), _) => return Err(wrong(&self.name, "must be a string")),
            (Kind::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("true") => true.into(),
            (Kind::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("false") => false.into(),
            (Kind::Boolean, _) => return Err(wrong(&self.name, "must be true or false")),
            (Kind::Integer, Value::Number(number)) if number.is_i64() => value.clone(),
            (Kind::Integer, Value::String(text)) => {
                text.parse::<i64>().map_err(|_| wrong(&self.name, "must be a whole number"))?.into()
            }
            (Kind::Integer, _) => return Err(wrong(&self.name, "must be a whole number")),
            (Kind::Complex(subs), Value::Object(map)) => {
                let read = members(subs, map, &self.name)?;
                return Ok((!read.is_empty()).then_some(Value::Object(read)));
            }
            // In a list of complex values, Entra may send only the `value` of an object.
            (Kind::Complex(subs), Value::String(_)) if self.multi_valued && self.sub("value").is_some() => {
                let value = Map::from_iter([("value".to_owned(), value.clone())]);
                Value::Object(members(subs, &value, &self.name)?)
            }
            (Kind::Complex(_), _) => return Err(wrong(&self.name, "must be an object")),
        };
        Ok(Some(read))
    }
}

fn members(subs: &[Attribute], map: &Map<String, Value>, parent: &str) -> Result<Document, ProtocolError> {
    let mut read = Document::new();
    for (key, value) in map {
        let Some(sub) = named(subs, key).filter(|sub| sub.mutability != Mutability::ReadOnly) else { continue };
        let value = sub.read(value).map_err(|refusal| match refusal {
            ProtocolError::InvalidValue(detail) => ProtocolError::InvalidValue(format!("{parent}.{detail}")),
            other => other,
        })?;
        if let Some(value) = value {
            read.insert(sub.name.clone(), value);
        }
    }
    Ok(read)
}

pub(super) fn named<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The attributes of a resource and of its extension.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Its URN.
    pub id: &'static str,
    /// `User` or `Group`.
    pub name: &'static str,
    /// The attributes of the core schema.
    pub attributes: Vec<Attribute>,
    /// The extension, if there is one.
    pub extension: Option<(&'static str, Vec<Attribute>)>,
    /// The URN of the extension. If `extension` is `None`, Flexgate ignores attributes under this URN.
    pub optional_extension: &'static str,
}

/// What a name refers to.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResolvedAttribute<'a> {
    /// An attribute of the core schema.
    Core(&'a Attribute),
    /// An attribute of the extension.
    Extension(&'a Attribute),
    /// The extension as a whole.
    WholeExtension,
    /// An attribute of RFC 7643 that Flexgate ignores.
    NotKept,
    /// Nothing known.
    Nothing,
}

impl Schema {
    /// Resolves `name`, optionally qualified by `uri`.
    pub(super) fn named(&self, uri: Option<&str>, name: &str) -> ResolvedAttribute<'_> {
        let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        match (uri, &self.extension) {
            (None, Some((id, _))) if is(name, id) => ResolvedAttribute::WholeExtension,
            (None, _) if is(name, ENTERPRISE) || is(name, self.optional_extension) => ResolvedAttribute::NotKept,
            (Some(uri), _) if is(uri, ENTERPRISE) => ResolvedAttribute::NotKept,
            (Some(uri), Some((id, fields))) if is(uri, id) => {
                named(fields, name).map_or(ResolvedAttribute::Nothing, ResolvedAttribute::Extension)
            }
            (Some(uri), _) if !is(uri, self.id) => ResolvedAttribute::Nothing,
            _ => self.core(name),
        }
    }

    fn core(&self, name: &str) -> ResolvedAttribute<'_> {
        let common = COMMON.iter().find(|common| common.name.eq_ignore_ascii_case(name));
        match named(&self.attributes, name).or(common) {
            Some(attribute) => ResolvedAttribute::Core(attribute),
            None if NOT_KEPT.iter().any(|known| known.eq_ignore_ascii_case(name)) => ResolvedAttribute::NotKept,
            None => ResolvedAttribute::Nothing,
        }
    }

    /// Resolves a key of a resource or of a patch value: a name, a dotted name, or a name after a schema's URN. Returns
    /// the attribute, and the sub-attribute if the key has one.
    pub(super) fn key<'a>(&self, key: &'a str) -> (ResolvedAttribute<'_>, Option<&'a str>) {
        match self.named(None, key) {
            ResolvedAttribute::Nothing => {}
            whole => return (whole, None),
        }
        let (uri, rest) = key.rsplit_once(':').map_or((None, key), |(uri, rest)| (Some(uri), rest));
        let (name, sub) = rest.split_once('.').map_or((rest, None), |(name, sub)| (name, Some(sub)));
        (self.named(uri, name), sub)
    }
}

/// The attributes of every resource, whatever its schema.
pub(super) static COMMON: std::sync::LazyLock<Vec<Attribute>> = std::sync::LazyLock::new(|| {
    let meta = ["resourceType", "location", "version"].map(|name| Attribute::new(name, Kind::Text, "").exact());
    let times = ["created", "lastModified"].map(|name| Attribute::new(name, Kind::DateTime, ""));
    vec![
        Attribute::new("id", Kind::Text, "").exact().only(Mutability::ReadOnly),
        Attribute::new("externalId", Kind::Text, "").exact(),
        Attribute::new("schemas", Kind::Text, "").exact().many().only(Mutability::ReadOnly),
        Attribute::new("meta", Kind::Complex(meta.into_iter().chain(times).collect()), "").only(Mutability::ReadOnly),
    ]
});
