//! Okta event hooks. A header contains a shared secret, and a delivery contains up to a few dozen events. Okta waits
//! three seconds for an answer, and repeats a failed delivery at most once. Okta verifies a new URL with a challenge.
//!
//! An event about a user contains only the user's id, login and display name.

use std::collections::BTreeSet;

use flexgate::store::Ended;
use flexgate::web::{Problem, Query};
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use crate::catalogue::{self, Effect};
use crate::mapping::{Mapping, ProfileFields, instant};
use crate::problem;
use crate::proof::{Unproven, one, shared_secret};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, ProfileField, SourceSettings};
use crate::source::{Challenged, Delivery, Source};

/// JSON pointers into the event's target of type `User`.
const PLACES: ProfileFields = &[
    (ProfileField::Subject, &["/id"]),
    (ProfileField::Username, &["/alternateId"]),
    (ProfileField::Email, &["/alternateId"]),
    (ProfileField::FullName, &["/displayName"]),
];

#[derive(Debug)]
pub(super) struct Okta {
    header: HeaderName,
    members_of: BTreeSet<String>,
    mapping: Mapping,
}

impl Okta {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self {
            header: settings.header.clone(),
            members_of: settings.members_of.clone(),
            mapping: Mapping::new(PLACES, settings),
        }
    }

    /// If the event is about a membership in a configured group or application, returns the id of this group or
    /// application. Otherwise returns `None`.
    fn membership(&self, kind: &str, targets: &[Value]) -> Option<String> {
        self.configured(targets).filter(|_| kind.contains(".user_membership.")).map(str::to_owned)
    }

    /// Returns the id of the first target that is a configured group or application.
    fn configured<'t>(&self, targets: &'t [Value]) -> Option<&'t str> {
        targets.iter().filter_map(|target| target["id"].as_str()).find(|id| self.members_of.contains(*id))
    }

    /// Returns the meaning of an event. If groups or applications are configured, only their members become Flex users.
    /// Otherwise, everybody in the organisation does. A profile change never creates a Flex user.
    fn meaning(&self, kind: &str, targets: &[Value]) -> Option<EventMeaning> {
        let ours = || self.membership(kind, targets).is_some();
        match kind {
            "user.lifecycle.create" => Some(EventMeaning::Upsert).filter(|_| self.members_of.is_empty()),
            "user.lifecycle.activate" | "user.lifecycle.reactivate" | "user.lifecycle.unsuspend" => {
                Some(if self.members_of.is_empty() { EventMeaning::Upsert } else { EventMeaning::Restore })
            }
            "user.account.update_profile" => Some(EventMeaning::Refresh),
            "user.lifecycle.deactivate"
            | "user.lifecycle.suspend"
            | "user.lifecycle.delete.initiated"
            | "user.lifecycle.delete.completed" => Some(EventMeaning::Deactivate),
            "application.user_membership.add" | "group.user_membership.add" => {
                Some(EventMeaning::Upsert).filter(|_| ours())
            }
            "application.user_membership.remove" | "group.user_membership.remove" => {
                Some(EventMeaning::Deactivate).filter(|_| ours())
            }
            _ => None,
        }
    }

    fn read_one(&self, event: &Value, reading: &mut Reading<'_>) {
        let Some(kind) = event["eventType"].as_str() else {
            return reading.misshapen("the event has no type", event);
        };
        let nothing = Vec::new();
        let targets = event["target"].as_array().unwrap_or(&nothing);
        // A failed operation at Okta changes nothing.
        let done = event.pointer("/outcome/result").is_none_or(|result| result == "SUCCESS");
        let Some(row) = catalogue::find(catalogue::OKTA, kind).filter(|_| done) else { return reading.ignore() };
        let (id, at) = (event["uuid"].as_str(), event.get("published").and_then(instant));
        match row.effect {
            Effect::Person => {}
            Effect::Ignored | Effect::EndsDirectory => return reading.ignore_relevant(kind, row),
            Effect::EndsMembership => {
                return match self.configured(targets) {
                    Some(ended) => reading.end(id, at, Some(Ended::Membership(ended.into())), event),
                    None => reading.ignore(),
                };
            }
        }
        let Some(meaning) = self.meaning(kind, targets) else { return reading.ignore() };
        let membership = self.membership(kind, targets);
        let Some(user) = targets.iter().find(|target| target["type"] == "User") else {
            return reading.misshapen("the event has no target of type User", event);
        };
        reading.say(
            &Draft {
                id: id.map(str::to_owned),
                occurred_at: at,
                subject: self.mapping.text(ProfileField::Subject, user),
                meaning,
                membership,
                directory: None,
                profile: self.mapping.profile(user),
            },
            event,
        );
    }
}

impl Source for Okta {
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        shared_secret(delivery.headers, &self.header, delivery.secrets)
    }

    fn read(&self, _delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        match document.pointer("/data/events").and_then(Value::as_array) {
            Some(events) => events.iter().for_each(|event| self.read_one(event, reading)),
            None => reading.misshapen("the delivery has no list of events", document),
        }
    }

    fn challenge(&self, headers: &HeaderMap, _query: &Query) -> Result<Option<Challenged>, Problem> {
        const HEADER: &str = "x-okta-verification-challenge";
        if !headers.contains_key(HEADER) {
            return Ok(None);
        }
        let value = one(headers, HEADER).map_err(|_| problem::no_challenge())?;
        Ok(Some(Challenged::Json("verification", value.to_owned())))
    }
}
