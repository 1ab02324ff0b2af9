//! Auth0 event streams. A delivery carries a bearer token or HTTP Basic credentials. The body is a `CloudEvent` that
//! contains the whole user.

use http::HeaderName;
use serde_json::Value;

use crate::catalogue;
use crate::mapping::{Mapping, ProfileFields};
use crate::proof::{Unproven, shared_secret};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, ProfileField, SourceSettings};
use crate::source::{Delivery, Source};

const PLACES: ProfileFields = &[
    (ProfileField::Type, &["/type"]),
    (ProfileField::Subject, &["/data/object/user_id"]),
    (ProfileField::OccurredAt, &["/time", "/data/object/updated_at"]),
    (ProfileField::Username, &["/data/object/username"]),
    (ProfileField::Email, &["/data/object/email"]),
    // Anybody can sign up at Auth0 with another person's address, so Flexgate uses only a verified address.
    (ProfileField::EmailVerified, &["/data/object/email_verified"]),
    (ProfileField::FullName, &["/data/object/name"]),
    (ProfileField::GivenName, &["/data/object/given_name"]),
    (ProfileField::FamilyName, &["/data/object/family_name"]),
    (ProfileField::Roles, &["/data/object/app_metadata/roles"]),
];

#[derive(Debug)]
pub(super) struct Auth0 {
    header: HeaderName,
    mapping: Mapping,
}

impl Auth0 {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self { header: settings.header.clone(), mapping: Mapping::new(PLACES, settings) }
    }
}

impl Source for Auth0 {
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        shared_secret(delivery.headers, &self.header, delivery.secrets)
    }

    fn read(&self, _delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        let Some(kind) = self.mapping.text(ProfileField::Type, document) else {
            return reading.misshapen("the event has no type", document);
        };
        let blocked = document.pointer("/data/object/blocked") == Some(&Value::Bool(true));
        // Early versions of Auth0's event streams put a prefix before every event type.
        let kind = kind.strip_prefix("com.auth0.").unwrap_or(&kind);
        let Some(row) = catalogue::find(catalogue::AUTH0, kind) else { return reading.ignore() };
        let meaning = match kind {
            "user.created" | "user.updated" if blocked => EventMeaning::Deactivate,
            "user.created" | "user.updated" => EventMeaning::Upsert,
            "user.deleted" => EventMeaning::Deactivate,
            _ => return reading.ignore_relevant(kind, row),
        };
        reading.say(
            &Draft {
                id: document["id"].as_str().map(str::to_owned),
                occurred_at: self.mapping.instant(ProfileField::OccurredAt, document),
                subject: self.mapping.text(ProfileField::Subject, document),
                meaning,
                membership: None,
                directory: None,
                profile: self.mapping.profile(document),
            },
            document,
        );
    }
}
