//! Auth0 event streams: a bearer token or HTTP Basic, and a `CloudEvent` with the whole user.

use http::HeaderName;
use serde_json::Value;

use crate::mapping::{Mapping, Places};
use crate::proof::{Unproven, shared_secret};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, Place, SourceSettings};
use crate::source::{Delivery, Source};

const PLACES: Places = &[
    (Place::Type, &["/type"]),
    (Place::Subject, &["/data/object/user_id"]),
    (Place::OccurredAt, &["/time", "/data/object/updated_at"]),
    (Place::Username, &["/data/object/username"]),
    (Place::Email, &["/data/object/email"]),
    // An address that is not verified is one that anybody may have signed up with.
    (Place::EmailVerified, &["/data/object/email_verified"]),
    (Place::FullName, &["/data/object/name"]),
    (Place::GivenName, &["/data/object/given_name"]),
    (Place::FamilyName, &["/data/object/family_name"]),
    (Place::Roles, &["/data/object/app_metadata/roles"]),
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
        let Some(kind) = self.mapping.text(Place::Type, document) else {
            return reading.misshapen("the event has no type", document);
        };
        let blocked = document.pointer("/data/object/blocked") == Some(&Value::Bool(true));
        let meaning = match kind.as_str() {
            "user.created" | "user.updated" if blocked => EventMeaning::Deactivate,
            "user.created" | "user.updated" => EventMeaning::Upsert,
            "user.deleted" => EventMeaning::Deactivate,
            _ => return reading.ignore(),
        };
        reading.say(
            &Draft {
                id: document["id"].as_str().map(str::to_owned),
                occurred_at: self.mapping.instant(Place::OccurredAt, document),
                subject: self.mapping.text(Place::Subject, document),
                meaning,
                membership: None,
                profile: self.mapping.profile(document),
            },
            document,
        );
    }
}
