//! Converts between a Flex user and a SCIM user.

use flexgate::domain::ledger::{RoleReason, Said, Source, Statement};
use flexgate::domain::{Email, FlexUser, FullName, Role, RoleSet, Username};
use flexgate::store::scim::{Entry, Membership};
use flexgate::users::ledger::{Earlier, View};
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::protocol::Document;
use super::refusal::{Refusal, value as wrong};
use super::resources::FLEX_USER;

/// The maximum length of a given or family name, in characters. Two such names and a space fit into a full name.
const MAX_HALF: usize = 127;

/// All data about one user.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) user: FlexUser,
    pub(super) entry: Option<Entry>,
    pub(super) memberships: Vec<Membership>,
    /// The person's state according to the people ledger. If the ledger was not read, for example for a list of users,
    /// the state according to Flex.
    pub(super) view: View,
}

/// The key under which the SCIM store keeps the `externalId` of a deleted user.
pub(super) const LEFT_AS: &str = "leftAs";

/// The attributes that Flexgate stores as the client wrote them.
const ASSERTED: [&str; 6] = ["name", "displayName", "locale", "emails", "roles", FLEX_USER];

impl Person {
    /// The SCIM `id`.
    pub(super) fn id(&self) -> &str {
        self.entry.as_ref().map_or(self.user.flex_user_sid.as_str(), |entry| entry.id.as_str())
    }

    /// Whether the user was deleted through SCIM and not reactivated later.
    pub(super) fn is_gone(&self) -> bool {
        let deleted = self.entry.as_ref().is_some_and(|entry| entry.deleted);
        deleted && !self.user.is_active()
    }

    /// Returns what a new user with the same username inherits from this deleted user. A different `externalId` means a
    /// different person, who inherits nothing.
    pub(super) fn earlier(&self, document: &Document) -> Earlier {
        let left_as = self.entry.as_ref().and_then(|entry| entry.asserted.get(LEFT_AS));
        match (left_as, document.get("externalId")) {
            (Some(left), Some(comes)) if left != comes => Earlier::Nothing,
            _ => Earlier::Statements,
        }
    }

    /// Whether SCIM's statement makes the person inactive.
    pub(super) fn says_inactive(&self) -> bool {
        self.statement().and_then(Statement::says_active) == Some(false)
    }

    /// SCIM's statement about the person, if any.
    pub(super) fn statement(&self) -> Option<&Statement> {
        self.view.person.as_ref()?.statements.get(&Source::Scim)
    }

    /// Returns a value from SCIM's statement about an inactive person. Flex receives the value when the person becomes
    /// active again.
    fn pending<T>(&self, field: impl FnOnce(&Statement) -> Option<&Said<T>>) -> Option<&T> {
        let stated = self.statement().filter(|_| !self.view.active)?;
        field(stated).map(|said| &said.value)
    }

    /// The roles in SCIM's own statement.
    pub(super) fn own_roles(&self) -> RoleSet {
        let said = self.statement().and_then(|statement| statement.roles.as_ref());
        said.iter().flat_map(|said| &said.value).filter_map(|name| name.parse().ok()).collect()
    }

    /// Returns the roles to show, without roles that Flexgate cannot give.
    pub(super) fn shown_roles(&self) -> RoleSet {
        self.view.roles.as_ref().map_or_else(|| self.own_roles(), |roles| roles.known().clone())
    }

    /// Returns why the person has or lacks the role.
    pub(super) fn reason(&self, role: Role) -> Option<&RoleReason> {
        self.view.explanation.as_ref()?.roles.get(role.as_str())
    }

    fn asserted(&self) -> Option<&Document> {
        self.entry.as_ref().map(|entry| &entry.asserted).filter(|asserted| !asserted.is_empty())
    }

    /// Returns the SCIM resource. Shows a value as the client wrote it, unless the value has changed at Twilio since
    /// then. `meta` contains only the timestamps.
    pub(super) fn document(&self, base: &str) -> Document {
        let mut shown = Document::new();
        shown.insert("id".to_owned(), self.id().into());
        if let Some(external_id) = self.entry.as_ref().and_then(|entry| entry.external_id.as_deref()) {
            shown.insert("externalId".to_owned(), external_id.into());
        }
        shown.insert("userName".to_owned(), self.user.username.as_str().into());
        shown.insert("active".to_owned(), self.view.active.into());
        self.show_name(&mut shown);
        self.show_emails(&mut shown);
        self.show_roles(&mut shown);
        let asserted_locale = self.asserted().and_then(|asserted| asserted.get("locale")).and_then(Value::as_str);
        let twilio_locale = self.user.locale.as_deref().filter(|locale| !locale.is_empty());
        let locale = match (twilio_locale, asserted_locale) {
            (Some(twilio), Some(asserted)) if !twilio.eq_ignore_ascii_case(asserted) => Some(twilio),
            (twilio, asserted) => asserted.or(twilio),
        };
        shown.extend(locale.map(|locale| ("locale".to_owned(), locale.into())));
        if let Some(fields) = self.asserted().and_then(|asserted| asserted.get(FLEX_USER)) {
            shown.insert(FLEX_USER.to_owned(), fields.clone());
        }
        let groups: Vec<Value> = self
            .memberships
            .iter()
            .filter(|membership| membership.present)
            .map(|membership| {
                json!({
                    "value": membership.group, "$ref": format!("{base}/Groups/{}", membership.group),
                    "display": membership.display_name,
                })
            })
            .collect();
        if !groups.is_empty() {
            shown.insert("groups".to_owned(), groups.into());
        }
        let mut times = Map::new();
        times.extend(parsed(self.user.created_date.as_deref()).map(|at| ("created".to_owned(), in_millis(at).into())));
        times.extend(self.modified_at().map(|at| ("lastModified".to_owned(), in_millis(at).into())));
        shown.insert("meta".to_owned(), times.into());
        shown
    }

    /// Returns the time of the last change, at Twilio or in the SCIM store.
    fn modified_at(&self) -> Option<OffsetDateTime> {
        let written = self.asserted().and(self.entry.as_ref()).map(|entry| entry.updated_at);
        parsed(self.user.updated_date.as_deref()).max(written)
    }

    fn show_name(&self, shown: &mut Document) {
        let twilio = self.user.full_name.as_deref();
        if let Some(asserted) = self.asserted() {
            let said = full_name(asserted, &self.user.username).ok();
            let same = said.as_ref().map(FullName::as_str) == twilio;
            if same || twilio.is_none() || !self.view.active {
                for name in ["name", "displayName"] {
                    shown.extend(asserted.get(name).map(|value| (name.to_owned(), value.clone())));
                }
                return;
            }
        }
        let Some(full) = twilio else { return };
        // Okta imports only users who have a given name and a family name. So if the full name is one word, use it for
        // both.
        let (given, family) = full.split_once(' ').unwrap_or((full, full));
        shown.insert("displayName".to_owned(), full.into());
        shown.insert("name".to_owned(), json!({ "formatted": full, "givenName": given, "familyName": family }));
    }

    fn show_emails(&self, shown: &mut Document) {
        let twilio = self.user.email.as_deref();
        let asserted = self.asserted().filter(|asserted| {
            let said = email(asserted, &self.user.username).ok();
            said.as_ref().map(Email::as_str) == twilio || twilio.is_none() || !self.view.active
        });
        let pending = self.pending(|stated| stated.email.as_ref()).and_then(Option::as_ref).map(Email::as_str);
        if let Some(emails) = asserted.and_then(|asserted| asserted.get("emails")) {
            shown.insert("emails".to_owned(), emails.clone());
        } else if let Some(email) = pending.or(twilio) {
            shown.insert("emails".to_owned(), json!([{ "value": email, "type": "work", "primary": true }]));
        }
    }

    fn show_roles(&self, shown: &mut Document) {
        let asserted = self.asserted().and_then(|asserted| asserted.get("roles"));
        let names = match (&self.view.roles, asserted) {
            (None, Some(asserted)) => {
                shown.insert("roles".to_owned(), asserted.clone());
                return;
            }
            (roles, _) => roles.as_ref().map(|roles| roles.names()).unwrap_or_default(),
        };
        // Prefer the item that the client sent for the role, because it may have `primary` set.
        let written = |name: &str| {
            let mut items = asserted.and_then(Value::as_array).into_iter().flatten();
            items.find(|item| item.get("value").and_then(Value::as_str) == Some(name)).cloned()
        };
        let list: Vec<Value> =
            names.into_iter().map(|name| written(name).unwrap_or_else(|| json!({ "value": name }))).collect();
        if !list.is_empty() {
            shown.insert("roles".to_owned(), list.into());
        }
    }
}

fn parsed(time: Option<&str>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(time?, &Rfc3339).ok()
}

/// Formats a timestamp in UTC, always with milliseconds, because some clients cannot parse any other format.
pub(super) fn in_millis(at: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.to_offset(UtcOffset::UTC).format(form).unwrap_or_default()
}

/// Returns the attributes that Flexgate stores as the client wrote them.
pub(super) fn asserted(document: &Document) -> Document {
    let keep = |name: &&str| document.get(*name).map(|value| ((*name).to_owned(), value.clone()));
    ASSERTED.iter().filter_map(keep).collect()
}

/// The username for Twilio.
pub(super) fn username(document: &Document) -> Result<Username, Refusal> {
    let text = document.get("userName").and_then(Value::as_str).ok_or_else(|| wrong("userName", "is required"))?;
    text.parse().map_err(|error| wrong("userName", error))
}

/// Returns the full name. This is `displayName` if it is present, otherwise `name.formatted`, otherwise the given and
/// family name, and otherwise the username. Every name in the document must be valid, even a name that is not used.
pub(super) fn full_name(document: &Document, username: &Username) -> Result<FullName, Refusal> {
    let said = |holder: Option<&Value>, name: &str| match holder.and_then(Value::as_str).map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => text.parse::<FullName>().map(Some).map_err(|error| wrong(name, error)),
    };
    let part = |name: &str| said(document.get("name").and_then(|parts| parts.get(name)), &format!("name.{name}"));
    let half = |name: &str| match part(name)? {
        Some(half) if half.as_str().chars().count() > MAX_HALF => {
            Err(wrong(&format!("name.{name}"), format!("must have {MAX_HALF} characters at most")))
        }
        half => Ok(half),
    };
    let (display, formatted) = (said(document.get("displayName"), "displayName")?, part("formatted")?);
    let (given, family) = (half("givenName")?, half("familyName")?);
    match display.or(formatted).or_else(|| FullName::joined(given.as_ref(), family.as_ref())) {
        Some(full) => Ok(full),
        None => username.as_str().parse().map_err(|error| wrong("displayName", error)),
    }
}

/// Updates `displayName` and `name.formatted` after a change of the given or family name, because Flex has only a full
/// name. If the patch itself sets `name.formatted`, this function does not change that value.
pub(super) fn follow_name(before: &Document, after: &mut Document, sets_formatted: bool) {
    let part = |document: &Document, name: &str| document.get("name").and_then(|parts| parts.get(name)).cloned();
    let changed = |after: &Document, name: &str| part(before, name) != part(after, name);
    let parsed = |after: &Document, name: &str| part(after, name)?.as_str()?.trim().parse::<FullName>().ok();
    if after.get("displayName") != before.get("displayName") {
        return;
    }
    let halves = ["givenName", "familyName"];
    let is_known = |name: &str| part(before, name).is_some() || part(after, name).is_some();
    let full = if changed(after, "formatted") && part(after, "formatted").is_some() {
        parsed(after, "formatted")
    } else if halves.iter().any(|half| changed(after, half)) && halves.iter().all(|half| is_known(half)) {
        FullName::joined(parsed(after, "givenName").as_ref(), parsed(after, "familyName").as_ref())
    } else {
        None
    };
    let Some(full) = full else { return };
    if let Some(display) = after.get_mut("displayName") {
        *display = full.as_str().into();
    }
    if sets_formatted {
        return;
    }
    if let Some(formatted) = after.get_mut("name").and_then(|parts| parts.get_mut("formatted")) {
        *formatted = full.as_str().into();
    }
}

/// Returns the e-mail address: the primary one, else the one of type `work`, else the first one. If there is none,
/// returns the username if it is an e-mail address.
pub(super) fn email(document: &Document, username: &Username) -> Result<Email, Refusal> {
    let empty = Vec::new();
    let emails = document.get("emails").and_then(Value::as_array).unwrap_or(&empty);
    let with_value = || emails.iter().filter(|email| email.get("value").is_some());
    let chosen = with_value()
        .find(|email| email.get("primary") == Some(&Value::Bool(true)))
        .or_else(|| {
            with_value().find(|email| {
                email.get("type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("work"))
            })
        })
        .or_else(|| with_value().next());
    match chosen.and_then(|email| email.get("value")).and_then(Value::as_str) {
        Some(text) => text.parse().map_err(|error| wrong("emails.value", error)),
        None => username.as_str().parse().map_err(|_| wrong("emails", "must hold an address")),
    }
}

/// Reads the role in a list item.
pub(super) fn role(item: &Value) -> Result<Role, Refusal> {
    let text = item.get("value").and_then(Value::as_str).ok_or_else(|| wrong("roles.value", "is required"))?;
    text.to_ascii_lowercase().parse().map_err(|error| wrong("roles.value", error))
}

/// Reads the roles in a list.
pub(super) fn roles(value: &Value) -> Result<RoleSet, Refusal> {
    value.as_array().into_iter().flatten().map(role).collect()
}

pub(super) fn check_locale(document: &Document) -> Result<(), Refusal> {
    let Some(locale) = document.get("locale").and_then(Value::as_str) else { return Ok(()) };
    let plain = (2..=64).contains(&locale.len())
        && locale.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { Ok(()) } else { Err(wrong("locale", "must be a language tag, like en-US")) }
}

/// Returns the resource after a `PUT`. If the client omits `active`, `roles`, `emails`, `locale` or the name, that
/// attribute keeps its value.
pub(super) fn replaced(before: &Document, document: &Document) -> Document {
    let mut after = document.clone();
    let keep = |after: &mut Document, name: &str| {
        if let (None, Some(value)) = (after.get(name), before.get(name)) {
            after.insert(name.to_owned(), value.clone());
        }
    };
    for name in ["id", "meta", "groups", "active", "roles", "emails", "locale"] {
        keep(&mut after, name);
    }
    if !after.contains_key("name") && !after.contains_key("displayName") {
        keep(&mut after, "name");
        keep(&mut after, "displayName");
    }
    after
}
