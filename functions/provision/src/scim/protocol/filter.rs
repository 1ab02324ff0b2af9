//! Filters (RFC 7644 §3.4.2.2): parsing, planning, matching.

use std::cmp::Ordering;

use flexgate::domain::folded;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::grammar::{self, AttrExp, AttrPath, CompValue, CompareOp, Filter};
use super::schema::{Attribute, Kind, ResolvedAttribute, Schema};
use super::{Document, ProtocolError};

/// The maximum length of a filter or a patch path, in bytes.
pub const MAX_FILTER: usize = 8 * 1024;

/// How to find the resources that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// By `userName`: one look-up.
    UserName(String),
    /// By `id`: one look-up.
    Id(String),
    /// By `externalId`, which the SCIM store indexes.
    ExternalId(String),
    /// By `displayName`, which the SCIM store indexes.
    DisplayName(String),
    /// By reading all resources.
    Everything,
}

/// A parsed filter.
#[derive(Debug, Clone)]
pub struct Test(Filter);

impl Test {
    /// Parses a filter.
    pub fn read(text: &str) -> Result<Self, ProtocolError> {
        if text.len() > MAX_FILTER {
            return Err(ProtocolError::InvalidFilter(format!("The filter may have at most {MAX_FILTER} bytes.")));
        }
        let parsed = grammar::filter(text).map(Self);
        // The filter may contain people's names, so the error must not quote it.
        parsed.map_err(|_| ProtocolError::InvalidFilter("The filter is malformed (RFC 7644 §3.4.2.2).".to_owned()))
    }

    /// Returns a way to find all resources that may match. The caller must still test each of them with
    /// [`Self::matches`].
    #[must_use]
    pub fn plan(&self) -> Plan {
        let terms = match &self.0 {
            Filter::And(terms) => terms.as_slice(),
            single => std::slice::from_ref(single),
        };
        terms.iter().find_map(key).unwrap_or(Plan::Everything)
    }

    /// Whether the resource matches the filter.
    #[must_use]
    pub fn matches(&self, schema: &Schema, document: &Document) -> bool {
        holds(&self.0, schema, document)
    }
}

fn key(term: &Filter) -> Option<Plan> {
    let Filter::Attr(AttrExp::Comparison(path, CompareOp::Eq, CompValue::Str(value))) = term else { return None };
    if path.sub_attr.is_some() {
        return None;
    }
    let value = value.clone();
    match path.name.to_ascii_lowercase().as_str() {
        "username" => Some(Plan::UserName(value)),
        "id" => Some(Plan::Id(value)),
        "externalid" => Some(Plan::ExternalId(value)),
        "displayname" => Some(Plan::DisplayName(value)),
        _ => None,
    }
}

fn holds(filter: &Filter, schema: &Schema, document: &Document) -> bool {
    match filter {
        Filter::Attr(expression) => {
            let (path, test) = parts(expression);
            match attribute(schema, path) {
                Some((attribute, extension)) => {
                    let holder = match &schema.extension {
                        Some((id, _)) if extension => document.get(*id).and_then(Value::as_object),
                        _ => Some(document),
                    };
                    let value = holder.and_then(|holder| holder.get(&attribute.name));
                    compare(attribute, path.sub_attr.as_deref(), value, test)
                }
                None => matches!(test, Some((CompareOp::Ne, _))),
            }
        }
        Filter::ValuePath(path, inner) => match attribute(schema, path) {
            Some((attribute, _)) => document
                .get(&attribute.name)
                .is_some_and(|values| items(values).any(|item| value_matches(attribute, inner, item))),
            None => false,
        },
        Filter::Not(inner) => !holds(inner, schema, document),
        Filter::And(all) => all.iter().all(|filter| holds(filter, schema, document)),
        Filter::Or(any) => any.iter().any(|filter| holds(filter, schema, document)),
    }
}

/// Whether a filter in brackets, such as `emails[type eq "work"]`, selects this value of the list.
pub(super) fn value_matches(attribute: &Attribute, filter: &Filter, item: &Value) -> bool {
    match filter {
        Filter::Attr(expression) => {
            let (path, test) = parts(expression);
            match attribute.sub(&path.name) {
                Some(sub) => compare(sub, None, item.get(&sub.name), test),
                None => false,
            }
        }
        // Lists are not nested.
        Filter::ValuePath(..) => false,
        Filter::Not(inner) => !value_matches(attribute, inner, item),
        Filter::And(all) => all.iter().all(|filter| value_matches(attribute, filter, item)),
        Filter::Or(any) => any.iter().any(|filter| value_matches(attribute, filter, item)),
    }
}

/// The operator and the value of a comparison. `None` is the operator `pr`, which tests only whether there is a value.
type Comparison<'a> = Option<(CompareOp, &'a CompValue)>;

fn parts(expression: &AttrExp) -> (&AttrPath, Comparison<'_>) {
    match expression {
        AttrExp::Present(path) => (path, None),
        AttrExp::Comparison(path, op, value) => (path, Some((*op, value))),
    }
}

fn attribute<'a>(schema: &'a Schema, path: &AttrPath) -> Option<(&'a Attribute, bool)> {
    match schema.named(path.uri.as_deref(), &path.name) {
        ResolvedAttribute::Core(attribute) => Some((attribute, false)),
        ResolvedAttribute::Extension(attribute) => Some((attribute, true)),
        _ => None,
    }
}

fn items(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        single => Box::new(std::iter::once(single)),
    }
}

/// Whether any value of the attribute passes the test. A complex attribute without `sub` is compared by its
/// sub-attribute `value` (RFC 7644 §3.4.2.2).
fn compare(attribute: &Attribute, sub: Option<&str>, value: Option<&Value>, test: Comparison<'_>) -> bool {
    let Some((op, with)) = test else {
        return value.is_some_and(|value| match sub {
            None => items(value).any(present),
            Some(sub) => items(value).any(|item| member(attribute, sub, item).is_some_and(present)),
        });
    };
    // `ne` is the negation of `eq`. So `ne "x"` also matches a resource without the attribute.
    if op == CompareOp::Ne {
        return !compare(attribute, sub, value, Some((CompareOp::Eq, with)));
    }
    let Some(value) = value else { return op == CompareOp::Eq && *with == CompValue::Null };
    items(value).any(|item| {
        let (leaf, item) = match (&attribute.kind, sub) {
            (Kind::Complex(_), sub) => {
                let sub = sub.unwrap_or("value");
                match (attribute.sub(sub), member(attribute, sub, item)) {
                    (Some(leaf), Some(item)) => (leaf, item),
                    _ => return false,
                }
            }
            (_, Some(_)) => return false,
            (_, None) => (attribute, item),
        };
        leaf_matches(leaf, item, op, with)
    })
}

fn member<'a>(attribute: &Attribute, sub: &str, item: &'a Value) -> Option<&'a Value> {
    item.get(&attribute.sub(sub)?.name)
}

fn present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn leaf_matches(attribute: &Attribute, value: &Value, op: CompareOp, with: &CompValue) -> bool {
    match (value, with) {
        (Value::Bool(value), with) => op == CompareOp::Eq && truth(with) == Some(*value),
        (Value::Number(value), CompValue::Number(with)) => value
            .as_f64()
            .zip(with.as_f64())
            .and_then(|(a, b)| a.partial_cmp(&b))
            .is_some_and(|order| ordered(op, order)),
        (Value::String(value), CompValue::Str(with)) if attribute.kind == Kind::DateTime => {
            let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
            time(value).zip(time(with)).is_some_and(|(a, b)| ordered(op, a.cmp(&b)))
        }
        (Value::String(value), CompValue::Str(with)) if attribute.case_exact => text_matches(value, op, with),
        (Value::String(value), CompValue::Str(with)) => {
            text_matches(&folded(value), op, &folded(&attribute.plain(with)))
        }
        _ => false,
    }
}

/// Returns the boolean with which a filter compares. It may be a string, because Entra writes `primary eq "True"`.
fn truth(with: &CompValue) -> Option<bool> {
    match with {
        CompValue::True => Some(true),
        CompValue::False => Some(false),
        CompValue::Str(text) => text.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

fn text_matches(value: &str, op: CompareOp, with: &str) -> bool {
    match op {
        CompareOp::Co => value.contains(with),
        CompareOp::Sw => value.starts_with(with),
        CompareOp::Ew => value.ends_with(with),
        op => ordered(op, value.cmp(with)),
    }
}

fn ordered(op: CompareOp, order: Ordering) -> bool {
    match op {
        CompareOp::Eq => order == Ordering::Equal,
        CompareOp::Ne => order != Ordering::Equal,
        CompareOp::Gt => order == Ordering::Greater,
        CompareOp::Ge => order != Ordering::Less,
        CompareOp::Lt => order == Ordering::Less,
        CompareOp::Le => order != Ordering::Greater,
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    }
}
