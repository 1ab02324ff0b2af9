//! Standard Webhooks (standardwebhooks.com) and its predecessor Svix. Both use the same signatures, under different
//! header names. The payload is Clerk's, or a plain `{"type", "timestamp", "data"}`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use flexgate::domain::{Email, NameError, PersonProfile};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use time::Duration;

use crate::catalogue;
use crate::mapping::{Mapping, ProfileFields};
use crate::proof::{Unproven, hmac_sha256, one, same, within};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, ProfileField, SourceSettings};
use crate::source::{Delivery, Source};

const WINDOW: Duration = Duration::minutes(5);

/// The minimum length of a key, in bytes. The specification requires 24 to 64 bytes.
const SHORTEST_KEY: usize = 24;

/// Two sets of header names, each for id, time and signatures.
const HEADERS: [[&str; 3]; 2] =
    [["webhook-id", "webhook-timestamp", "webhook-signature"], ["svix-id", "svix-timestamp", "svix-signature"]];

/// Returns the event's id if the delivery's signature is valid. A repeated delivery has the same id.
pub(super) fn verify<'d>(delivery: &Delivery<'d>) -> Result<&'d str, Unproven> {
    let [svix, standard] = [HEADERS[1], HEADERS[0]];
    let names = if delivery.headers.contains_key(standard[0]) { standard } else { svix };
    let [id, time, signatures] = names.map(|name| one(delivery.headers, name));
    let (id, time, signatures) = (id?, time?, signatures?);
    // The signature covers the id, the time and the body, joined by full stops. If an id could contain a full stop, the
    // same signature would be valid for several combinations of id, time and body.
    if !(1..=256).contains(&id.len()) || id.contains('.') {
        return Err(Unproven::Malformed(names[0]));
    }
    within(time, Duration::SECOND, WINDOW, delivery.now)?;
    let right = delivery.secrets.iter().filter_map(key).any(|key| {
        let tag = hmac_sha256(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", delivery.body]);
        signatures
            .split(' ')
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .any(|signature| same(&signature, tag.as_ref()))
    });
    if right { Ok(id) } else { Err(Unproven::Wrong) }
}

/// Checks that a secret contains a usable key.
pub(super) fn takes(secret: &SecretString) -> Result<(), &'static str> {
    match key(secret) {
        Some(key) if key.len() >= SHORTEST_KEY => Ok(()),
        Some(_) => Err("is too short: a key has 24 bytes or more"),
        None => Err("is not whsec_ and a key in base64"),
    }
}

fn key(secret: &SecretString) -> Option<Vec<u8>> {
    let text = secret.expose_secret();
    // Some signers omit the padding.
    let text = text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=');
    STANDARD_NO_PAD.decode(text).ok()
}

/// Returns the time of the delivery attempt, for payloads without their own time.
pub(super) fn attempted_at(delivery: &Delivery<'_>) -> Option<time::OffsetDateTime> {
    let names = [HEADERS[0][1], HEADERS[1][1]];
    let text = names.iter().find_map(|name| one(delivery.headers, name).ok())?;
    time::OffsetDateTime::from_unix_timestamp(text.parse().ok()?).ok()
}

const PLACES: ProfileFields = &[
    (ProfileField::Type, &["/type"]),
    (ProfileField::Subject, &["/data/id"]),
    // Clerk's deletion event has no `updated_at`, so Flexgate reads the event's time from `timestamp`.
    (ProfileField::OccurredAt, &["/data/updated_at", "/timestamp"]),
    (ProfileField::Username, &["/data/username"]),
    (ProfileField::Email, &["/data/email"]),
    (ProfileField::EmailVerified, &["/data/email_verified"]),
    (ProfileField::FullName, &["/data/full_name", "/data/name"]),
    (ProfileField::GivenName, &["/data/first_name"]),
    (ProfileField::FamilyName, &["/data/last_name"]),
    (ProfileField::Roles, &["/data/public_metadata/roles", "/data/public_metadata/role", "/data/roles"]),
    (ProfileField::Active, &["/data/active"]),
];

/// A source's event types, each with its meaning.
type Events = &'static [(&'static str, EventMeaning)];

const EVENTS: Events = &[
    ("user.created", EventMeaning::Upsert),
    ("user.updated", EventMeaning::Upsert),
    ("user.deleted", EventMeaning::Deactivate),
];

#[derive(Debug)]
pub(super) struct Standard {
    mapping: Mapping,
    events: BTreeMap<String, EventMeaning>,
    /// Whether to use Clerk's payload format.
    clerk: bool,
}

impl Standard {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self { clerk: true, ..Self::with(PLACES, EVENTS, settings) }
    }

    /// Creates a source that does not use Clerk's payload format. `places` are its default JSON pointers, and `events`
    /// are its default event types.
    pub(super) fn with(places: ProfileFields, events: Events, settings: &SourceSettings) -> Self {
        let own = events.iter().map(|(name, meaning)| ((*name).to_owned(), *meaning));
        let events = own.chain(settings.events.clone()).collect();
        Self { mapping: Mapping::new(places, settings), events, clerk: false }
    }

    fn profile(&self, document: &Value) -> Result<PersonProfile, NameError> {
        match clerk_email(&document["data"]).filter(|_| self.clerk) {
            Some((email, verified)) => self.mapping.profile_with(document, Some(email), verified),
            None => self.mapping.profile(document),
        }
    }

    fn inactive(&self, document: &Value) -> bool {
        let says_yes = |name: &str| document["data"][name] == Value::Bool(true);
        let out = self.clerk && (says_yes("banned") || says_yes("locked"));
        out || self.mapping.find(ProfileField::Active, document) == Some(&Value::Bool(false))
    }
}

impl Source for Standard {
    fn takes(&self, secret: &SecretString) -> Result<(), &'static str> {
        takes(secret)
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        verify(delivery).map(drop)
    }

    fn read(&self, delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        let Some(kind) = self.mapping.text(ProfileField::Type, document) else {
            return reading.misshapen("the event has no type", document);
        };
        let Some(meaning) = self.events.get(&kind) else {
            return match catalogue::find(catalogue::STANDARD, &kind).filter(|_| self.clerk) {
                Some(row) => reading.ignore_relevant(&kind, row),
                None => reading.ignore(),
            };
        };
        reading.say(
            &Draft {
                id: verify(delivery).ok().map(str::to_owned),
                occurred_at: self
                    .mapping
                    .instant(ProfileField::OccurredAt, document)
                    .or_else(|| attempted_at(delivery)),
                subject: self.mapping.text(ProfileField::Subject, document),
                meaning: if self.inactive(document) { EventMeaning::Deactivate } else { *meaning },
                membership: None,
                directory: None,
                profile: self.profile(document),
            },
            document,
        );
    }
}

/// Returns Clerk's primary e-mail address, and whether it is verified.
fn clerk_email(data: &Value) -> Option<(Email, bool)> {
    let primary = data["primary_email_address_id"].as_str()?;
    let address = data["email_addresses"].as_array()?.iter().find(|address| address["id"] == primary)?;
    let email = address["email_address"].as_str()?.parse().ok()?;
    Some((email, address["verification"]["status"] == "verified"))
}
