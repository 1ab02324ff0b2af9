//! `WorkOS` directory sync. The signature's time is in milliseconds, and a delivery contains one event.

use std::collections::BTreeSet;

use serde_json::Value;
use time::Duration;

use crate::mapping::{Mapping, ProfileFields};
use crate::proof::{Timestamped, Unproven};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, ProfileField, SourceSettings};
use crate::source::{Delivery, Source};

const SIGNATURE: Timestamped =
    Timestamped { header: "workos-signature", unit: Duration::MILLISECOND, window: Duration::minutes(3) };

/// In an event about a user, the user is `data` itself. In an event about a group, the user is `data.user`.
const PLACES: ProfileFields = &[
    (ProfileField::Type, &["/event"]),
    (ProfileField::Subject, &["/data/user/id", "/data/id"]),
    (ProfileField::OccurredAt, &["/created_at", "/data/updated_at"]),
    (ProfileField::Username, &["/data/user/username", "/data/username"]),
    (ProfileField::Email, &["/data/user/email", "/data/email", "/data/user/emails/0/value", "/data/emails/0/value"]),
    (ProfileField::GivenName, &["/data/user/first_name", "/data/first_name"]),
    (ProfileField::FamilyName, &["/data/user/last_name", "/data/last_name"]),
    (ProfileField::Roles, &["/data/user/role/slug", "/data/role/slug"]),
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

    /// Returns what an event means. If the configuration names groups, only their members are Flex users. Otherwise,
    /// everybody in the directory is a Flex user.
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
        let Some(meaning) = self.meaning(&kind, document) else { return reading.ignore() };
        let group = document.pointer("/data/group/id").and_then(Value::as_str);
        let membership = group.filter(|_| kind.starts_with("dsync.group.user_")).map(str::to_owned);
        reading.say(
            &Draft {
                id: document["id"].as_str().map(str::to_owned),
                occurred_at: self.mapping.instant(ProfileField::OccurredAt, document),
                subject: self.mapping.text(ProfileField::Subject, document),
                meaning,
                membership,
                profile: self.mapping.profile(document),
            },
            document,
        );
    }
}
