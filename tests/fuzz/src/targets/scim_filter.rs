//! Fuzzes SCIM filters.
//!
//! If an input begins with `~`, the following bytes describe a filter. The target writes this filter as text for
//! Flexgate. It also evaluates the filter by RFC 7644 §3.4.2.2, without Flexgate's code, and compares the results. Any
//! other input is the text of a filter.

use std::fmt;

use flexgate_provision::protocol::{Document, Plan, Schema, Test};
use serde_json::{Value, json};

use super::scim_patch::schema;
use crate::Outcome;

struct Fixture {
    schema: Schema,
    documents: Vec<Document>,
}

thread_local! {
    static FIXTURE: Fixture = {
        let documents = [
            json!({ "id": "FU01", "userName": "ada", "externalId": "E1", "active": true,
                    "name": { "givenName": "Ada", "familyName": "Lovelace" },
                    "emails": [{ "value": "ada@example.com", "type": "work", "primary": true },
                               { "value": "b@example.com", "type": "home" }],
                    "urn:flexgate:params:scim:schemas:extension:flex:2.0:User": { "level": 3 },
                    "meta": { "created": "2026-03-01T12:00:00Z" } }),
            json!({ "id": "FU02", "userName": "Bob", "active": false, "emails": [{ "value": "bob@example.com" }] }),
            json!({ "id": "FU03" }),
        ];
        let documents = documents.into_iter().filter_map(|document| document.as_object().cloned()).collect();
        Fixture { schema: schema(), documents }
    };
}

pub(crate) fn run(input: &[u8]) -> Outcome {
    if let Some(description) = input.strip_prefix(b"~") {
        return described(description);
    }
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    let Ok(filter) = Test::read(text) else { return Outcome::Refused };
    FIXTURE.with(|fixture| {
        // Combine the filter with itself only if it is small, because the parser limits the depth and the number of
        // comparisons.
        let is_small = text.len() < 400 && text.matches(['(', '[']).count() < 60;
        let laws = is_small.then(|| {
            let read = |text: String| Test::read(&text).unwrap();
            [
                read(format!("not ({text})")),
                read(format!("({text}) and not ({text})")),
                read(format!("({text}) or ({text})")),
            ]
        });
        for document in &fixture.documents {
            let holds = filter.matches(&fixture.schema, document);
            if let Some([negation, contradiction, same]) = &laws {
                assert_ne!(negation.matches(&fixture.schema, document), holds, "{text}");
                assert!(!contradiction.matches(&fixture.schema, document), "{text}");
                assert_eq!(same.matches(&fixture.schema, document), holds, "{text}");
            }
            if holds {
                found_by_plan(&filter.plan(), document, text);
            }
        }
    });
    Outcome::Accepted
}

/// Checks that Flexgate's plan for a filter finds `document`, which matches the filter. The plan says which resources
/// Flexgate looks up.
fn found_by_plan(plan: &Plan, document: &Document, text: &str) {
    let (name, value) = match plan {
        Plan::UserName(value) => ("userName", value),
        Plan::Id(value) => ("id", value),
        Plan::ExternalId(value) => ("externalId", value),
        Plan::DisplayName(value) => ("displayName", value),
        Plan::Everything => return,
    };
    let found = document.get(name).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(found.to_lowercase(), value.to_lowercase(), "{text}");
}

fn described(description: &[u8]) -> Outcome {
    let mut bytes = description.iter().copied();
    let described = Described::draw(&mut bytes, 4);
    let text = described.to_string();
    let filter = Test::read(&text).unwrap();
    FIXTURE.with(|fixture| {
        for document in &fixture.documents {
            let document_value = Value::Object(document.clone());
            assert_eq!(
                filter.matches(&fixture.schema, document),
                described.holds(&document_value),
                "{text} on {document:?}"
            );
        }
    });
    Outcome::Accepted
}

enum Described {
    Present(&'static Field),
    Compare(&'static Field, &'static str, Operand),
    /// `emails[…]`, with a filter on the sub-attributes.
    Emails(Box<Described>),
    Not(Box<Described>),
    All(Vec<Described>),
    Any(Vec<Described>),
}

/// An attribute: its name in a filter, and the JSON pointer to its value in the document.
struct Field {
    name: &'static str,
    pointer: &'static str,
    exact: bool,
}

const FIELDS: [Field; 9] = [
    Field { name: "userName", pointer: "/userName", exact: false },
    Field { name: "externalId", pointer: "/externalId", exact: true },
    Field { name: "active", pointer: "/active", exact: false },
    Field { name: "name.givenName", pointer: "/name/givenName", exact: false },
    Field { name: "emails.value", pointer: "/emails/*/value", exact: false },
    Field { name: "emails.type", pointer: "/emails/*/type", exact: false },
    Field { name: "emails", pointer: "/emails/*/value", exact: false },
    Field { name: "urn:ietf:params:scim:schemas:core:2.0:User:userName", pointer: "/userName", exact: false },
    Field {
        name: "urn:flexgate:params:scim:schemas:extension:flex:2.0:User:level",
        pointer: "/urn:flexgate:params:scim:schemas:extension:flex:2.0:User/level",
        exact: false,
    },
];

/// The sub-attributes of `emails`.
const SUBS: [Field; 3] = [
    Field { name: "value", pointer: "/value", exact: false },
    Field { name: "type", pointer: "/type", exact: false },
    Field { name: "primary", pointer: "/primary", exact: false },
];

#[derive(Clone, Copy)]
enum Operand {
    Text(&'static str),
    Truth(bool),
    Number(i64),
    Null,
}

const OPERATORS: [&str; 9] = ["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"];
const OPERANDS: [Operand; 12] = [
    Operand::Text("ada"),
    Operand::Text("ADA"),
    Operand::Text("E1"),
    Operand::Text("e1"),
    Operand::Text("work"),
    Operand::Text("example.com"),
    Operand::Text(""),
    Operand::Truth(true),
    Operand::Truth(false),
    Operand::Number(3),
    Operand::Number(4),
    Operand::Null,
];

impl Described {
    fn draw(bytes: &mut impl Iterator<Item = u8>, depth: u8) -> Self {
        Self::among(&FIELDS, bytes, depth, true)
    }

    fn among(fields: &'static [Field], bytes: &mut impl Iterator<Item = u8>, depth: u8, lists: bool) -> Self {
        let mut below = |limit: usize| usize::from(bytes.next().unwrap_or_default()) % limit;
        let kind = if depth == 0 { below(2) } else { below(6) };
        match kind {
            0 => Self::Present(&fields[below(fields.len())]),
            2 => Self::Not(Box::new(Self::among(fields, bytes, depth - 1, lists))),
            3 | 4 => {
                let count = 2 + below(2);
                let terms = (0..count).map(|_| Self::among(fields, bytes, depth - 1, lists)).collect();
                if kind == 3 { Self::All(terms) } else { Self::Any(terms) }
            }
            5 if lists => Self::Emails(Box::new(Self::among(&SUBS, bytes, depth - 1, false))),
            _ => {
                let (field, operator) = (&fields[below(fields.len())], OPERATORS[below(OPERATORS.len())]);
                Self::Compare(field, operator, OPERANDS[below(OPERANDS.len())])
            }
        }
    }

    fn holds(&self, document: &Value) -> bool {
        match self {
            Self::Present(field) => {
                field.values(document).iter().any(|value| value.as_str().is_none_or(|text| !text.is_empty()))
            }
            Self::Compare(field, "ne", operand) => !Self::Compare(field, "eq", *operand).holds(document),
            Self::Compare(field, "eq", Operand::Null) => {
                field.values(document).is_empty() && field.is_missing(document)
            }
            Self::Compare(field, operator, operand) => {
                field.values(document).into_iter().any(|value| compare(value, operator, *operand, field.exact))
            }
            Self::Emails(inner) => document["emails"].as_array().into_iter().flatten().any(|item| inner.holds(item)),
            Self::Not(inner) => !inner.holds(document),
            Self::All(terms) => terms.iter().all(|term| term.holds(document)),
            Self::Any(terms) => terms.iter().any(|term| term.holds(document)),
        }
    }
}

impl Field {
    fn values<'d>(&self, document: &'d Value) -> Vec<&'d Value> {
        match self.pointer.split_once("/*") {
            Some((list, rest)) => {
                let items = document.pointer(list).and_then(Value::as_array).into_iter().flatten();
                items.filter_map(|item| item.pointer(rest)).collect()
            }
            None => document.pointer(self.pointer).into_iter().collect(),
        }
    }

    /// Whether the document lacks the whole attribute, and not only a sub-attribute.
    fn is_missing(&self, document: &Value) -> bool {
        let first = self.pointer.split('/').nth(1).unwrap_or_default();
        let is_extension = first.starts_with("urn:");
        if is_extension { document.pointer(self.pointer).is_none() } else { document.get(first).is_none() }
    }
}

fn compare(value: &Value, operator: &str, operand: Operand, exact: bool) -> bool {
    match (value, operand) {
        (Value::Bool(value), Operand::Truth(with)) => operator == "eq" && *value == with,
        (Value::Number(value), Operand::Number(with)) => ordered(operator, &value.as_i64().unwrap(), &with),
        (Value::String(value), Operand::Text(with)) => {
            let fold = |text: &str| if exact { text.to_owned() } else { text.to_ascii_lowercase() };
            let (value, with) = (fold(value), fold(with));
            match operator {
                "co" => value.contains(&with),
                "sw" => value.starts_with(&with),
                "ew" => value.ends_with(&with),
                _ => ordered(operator, &value, &with),
            }
        }
        _ => false,
    }
}

fn ordered<T: Ord>(operator: &str, value: &T, with: &T) -> bool {
    match operator {
        "eq" => value == with,
        "gt" => value > with,
        "ge" => value >= with,
        "lt" => value < with,
        "le" => value <= with,
        _ => false,
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, terms: &[Self], word: &str| {
            let terms: Vec<_> = terms.iter().map(|term| format!("({term})")).collect();
            f.write_str(&terms.join(word))
        };
        match self {
            Self::Present(field) => write!(f, "{} pr", field.name),
            Self::Compare(field, operator, operand) => write!(f, "{} {operator} {operand}", field.name),
            Self::Emails(inner) => write!(f, "emails[{inner}]"),
            Self::Not(inner) => write!(f, "not ({inner})"),
            Self::All(terms) => joined(f, terms, " and "),
            Self::Any(terms) => joined(f, terms, " or "),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Null => f.write_str("null"),
        }
    }
}
