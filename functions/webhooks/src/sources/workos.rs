//! `WorkOS` directory sync. A delivery contains one event. The time in the signature header is in milliseconds.

use std::collections::BTreeSet;

use flexgate::domain::{NameError, PersonProfile};
use flexgate::store::Ended;
use serde_json::Value;
use time::Duration;

use crate::catalogue::{self, Effect};
use crate::mapping::{Mapping, ProfileFields};
use crate::proof::{Timestamped, Unproven};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, ProfileField, SourceSettings};
use crate::source::{Delivery, Source};

const SIGNATURE: Timestamped =
    Timestamped { header: "workos-signature", unit: Duration::MILLISECOND, window: Duration::minutes(3) };

/// The user is `data` in an event about a user, and `data.user` in an event about a group.
const PLACES: ProfileFields = &[
    (ProfileField::Type, &["/event"]),
    (ProfileField::Subject, &["/data/user/id", "/data/id"]),
    (ProfileField::OccurredAt, &["/created_at", "/data/updated_at"]),
    (ProfileField::Username, &["/data/user/username", "/data/username"]),
    (ProfileField::Email, &["/data/user/email", "/data/email", "/data/user/emails/0/value", "/data/emails/0/value"]),
    (ProfileField::FullName, &["/data/user/name", "/data/name"]),
    (ProfileField::GivenName, &["/data/user/first_name", "/data/first_name"]),
    (ProfileField::FamilyName, &["/data/user/last_name", "/data/last_name"]),
    (ProfileField::Roles, &["/data/user/roles", "/data/roles", "/data/user/role/slug", "/data/role/slug"]),
];

#[derive(Debug)]
pub(super) struct WorkOs {
    members_of: BTreeSet<String>,
    mapping: Mapping,
}

impl WorkOs {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self { members_of: settings.members_of.clone(), mapping: Mapping::new(PLACES, settings) }
    }

    /// Returns the profile. If the person has several e-mail addresses, the profile contains the primary one.
    fn profile(&self, document: &Value) -> Result<PersonProfile, NameError> {
        let person = document.pointer("/data/user").unwrap_or(&document["data"]);
        let emails = person["emails"].as_array().filter(|_| person["email"].as_str().is_none_or(str::is_empty));
        let primary = emails.into_iter().flatten().find(|email| email["primary"] == true);
        match primary.and_then(|email| email["value"].as_str()?.parse().ok()) {
            Some(email) => self.mapping.profile_with(document, Some(email), true),
            None => self.mapping.profile(document),
        }
    }

    /// Returns the meaning of an event. If groups are configured, only their members become Flex users. Otherwise,
    /// everybody in the directory does.
    fn meaning(&self, kind: &str, document: &Value) -> Option<EventMeaning> {
        let everybody = self.members_of.is_empty();
        let group = document.pointer("/data/group/id").and_then(Value::as_str);
        let ours = || group.is_some_and(|group| self.members_of.contains(group));
        let state = ["/data/user/state", "/data/state"].iter().find_map(|pointer| document.pointer(pointer));
        let inactive = state.is_some_and(|state| state == "inactive");
        match kind {
            "dsync.user.created" | "dsync.user.updated" if inactive => Some(EventMeaning::Deactivate),
            "dsync.user.created" | "dsync.user.updated" if everybody => Some(EventMeaning::Upsert),
            "dsync.user.updated" if state.is_some_and(|state| state == "active") => Some(EventMeaning::Restore),
            "dsync.user.created" | "dsync.user.updated" => Some(EventMeaning::Refresh),
            "dsync.user.deleted" => Some(EventMeaning::Deactivate),
            "dsync.group.user_added" if inactive => None,
            "dsync.group.user_added" => Some(EventMeaning::Upsert).filter(|_| ours()),
            "dsync.group.user_removed" => Some(EventMeaning::Deactivate).filter(|_| ours()),
            _ => None,
        }
    }
}

impl Source for WorkOs {
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        SIGNATURE.verify(delivery.headers, delivery.body, delivery.secrets, delivery.now)
    }

    fn read(&self, _delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        let Some(kind) = self.mapping.text(ProfileField::Type, document) else {
            return reading.misshapen("the event has no type", document);
        };
        let Some(row) = catalogue::find(catalogue::WORKOS, &kind) else { return reading.ignore() };
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let (id, at) = (text("/id"), self.mapping.instant(ProfileField::OccurredAt, document));
        match row.effect {
            Effect::Person => {}
            Effect::Ignored => return reading.ignore_relevant(&kind, row),
            Effect::EndsMembership => {
                return match text("/data/id").filter(|group| self.members_of.contains(*group)) {
                    Some(group) => reading.end(id, at, Some(Ended::Membership(group.into())), document),
                    None => reading.ignore(),
                };
            }
            Effect::EndsDirectory => {
                let ended = text("/data/id").map(|directory| Ended::Directory(directory.into()));
                return reading.end(id, at, ended, document);
            }
        }
        let Some(meaning) = self.meaning(&kind, document) else { return reading.ignore() };
        let group = text("/data/group/id");
        let membership = group.filter(|_| kind.starts_with("dsync.group.user_")).map(str::to_owned);
        reading.say(
            &Draft {
                id: id.map(str::to_owned),
                occurred_at: at,
                subject: self.mapping.text(ProfileField::Subject, document),
                meaning,
                membership,
                directory: text("/data/directory_id").or_else(|| text("/data/user/directory_id")).map(str::to_owned),
                profile: self.profile(document),
            },
            document,
        );
    }
}
