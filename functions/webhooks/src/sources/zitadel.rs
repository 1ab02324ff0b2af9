//! Zitadel Actions (version 2), triggered by events. A delivery contains one event. The time in the signature header is
//! in seconds.
//!
//! An event contains only the changed fields. So Flexgate can create a Flex user only from an event about a new user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::strict_json;
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
    Timestamped { header: "zitadel-signature", unit: Duration::SECOND, window: Duration::seconds(300) };

const PLACES: ProfileFields = &[
    (ProfileField::Type, &["/event_type"]),
    (ProfileField::Subject, &["/aggregateID"]),
    (ProfileField::OccurredAt, &["/created_at"]),
    (ProfileField::Username, &["/event_payload/userName"]),
    (ProfileField::Email, &["/event_payload/email"]),
    // Zitadel reports a new address in one event, and its verification in a later one. So the address in the first
    // event counts as unverified.
    (ProfileField::EmailVerified, &["/event_payload/isEmailVerified"]),
    (ProfileField::FullName, &["/event_payload/displayName"]),
    (ProfileField::GivenName, &["/event_payload/firstName"]),
    (ProfileField::FamilyName, &["/event_payload/lastName"]),
];

#[derive(Debug)]
pub(super) struct Zitadel {
    mapping: Mapping,
}

impl Zitadel {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self { mapping: Mapping::new(PLACES, settings) }
    }
}

impl Source for Zitadel {
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        SIGNATURE.verify(delivery.headers, delivery.body, delivery.secrets, delivery.now)
    }

    fn read(&self, _delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        let Some(kind) = self.mapping.text(ProfileField::Type, document) else {
            return reading.misshapen("the event has no type", document);
        };
        let Some(row) = catalogue::find(catalogue::ZITADEL, &kind) else { return reading.ignore() };
        let document = unpacked(document);
        // Zitadel calls a directory an organization. Every event names its organization.
        let organization = document["resourceOwner"].as_str().map(str::to_owned);
        let (id, at) = (id(&document), self.mapping.instant(ProfileField::OccurredAt, &document));
        let meaning = match kind.as_str() {
            _ if row.effect == Effect::EndsDirectory => {
                let ended = document["aggregateID"].as_str().map(|id| Ended::Directory(id.into()));
                return reading.end(id.as_deref(), at, ended, &document);
            }
            "user.human.added" | "user.human.selfregistered" | "user.reactivated" | "user.unlocked" => {
                EventMeaning::Upsert
            }
            "user.human.profile.changed" | "user.human.email.changed" => EventMeaning::Refresh,
            "user.deactivated" | "user.locked" | "user.removed" => EventMeaning::Deactivate,
            _ => return reading.ignore_relevant(&kind, row),
        };
        reading.say(
            &Draft {
                id,
                occurred_at: at,
                subject: self.mapping.text(ProfileField::Subject, &document),
                meaning,
                membership: None,
                directory: organization,
                profile: self.mapping.profile(&document),
            },
            &document,
        );
    }
}

/// Returns the document with its payload as an object. Some versions of Zitadel send the payload in base64.
fn unpacked(document: &Value) -> Value {
    let mut document = document.clone();
    let packed = document["event_payload"].as_str().and_then(|text| STANDARD.decode(text).ok());
    if let Some(payload) = packed.and_then(|bytes| strict_json::parse(&bytes).ok())
        && let Some(slot) = document.get_mut("event_payload")
    {
        *slot = payload;
    }
    document
}

/// Returns an id for the event, because Zitadel sends none. The aggregate id and the sequence number together identify
/// an event.
fn id(document: &Value) -> Option<String> {
    let aggregate = document["aggregateID"].as_str()?;
    Some(format!("{aggregate}:{}", document["sequence"].as_u64()?))
}
