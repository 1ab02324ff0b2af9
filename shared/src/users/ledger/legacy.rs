//! Converts the SCIM data of versions before 0.2.0, which had no people ledger, into a statement.
//!
//! Those versions stored a SCIM client's data about a user only in the user's SCIM entry. The first reconciliation of
//! the user copies this data into the ledger.

use std::collections::BTreeSet;

use serde_json::Value;
use time::OffsetDateTime;

use crate::domain::EventId;
use crate::domain::ledger::{Person, Said, Source, Statement};
use crate::store::scim::Entry;

/// Converts the SCIM entry into a statement. Returns `None` if the ledger already has a SCIM statement about the
/// person, or if the entry contains no values for a statement.
pub(super) fn said(person: &Person, entry: &Entry, now: OffsetDateTime, cause: &EventId) -> Option<Statement> {
    if person.statements.contains_key(&Source::Scim) {
        return None;
    }
    let said = Statement {
        active: entry.deleted.then(|| Said::access(now, cause, false)),
        roles: entry.asserted.get("roles").map(|written| Said::new(now, cause, roles(written))),
        email: email(entry.asserted.get("emails")).map(|email| Said::new(now, cause, email.parse().ok())),
        full_name: full_name(entry).map(|full| Said::new(now, cause, full.trim().parse().ok())),
        ..Statement::default()
    };
    (!said.is_silent()).then_some(said)
}

fn roles(value: &Value) -> BTreeSet<Box<str>> {
    let names = value.as_array().into_iter().flatten().filter_map(|item| item.get("value")?.as_str());
    names.map(|name| name.to_lowercase().into()).collect()
}

fn email(emails: Option<&Value>) -> Option<String> {
    let emails = emails?.as_array()?;
    let primary = emails.iter().find(|email| email.get("primary") == Some(&Value::Bool(true)));
    Some(primary.or(emails.first())?.get("value")?.as_str()?.to_owned())
}

fn full_name(entry: &Entry) -> Option<String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let name = entry.asserted.get("name");
    let part = |part: &str| text(name.and_then(|name| name.get(part)));
    let joined = || Some(format!("{} {}", part("givenName")?, part("familyName")?));
    text(entry.asserted.get("displayName")).or_else(|| part("formatted")).or_else(joined)
}
