//! What travels through the queue: identity events, and jobs that Flexgate gives itself.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fingerprint;
use crate::domain::{EventId, FlexUserSid, IdentityEvent, Role, SourceName};

/// What a job shows where an event shows its source.
const OWN: &str = "flexgate";

/// What travels through the queue, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// An event to apply.
    Event(IdentityEvent),
    /// What a source has proven to be its own but nobody can read: kept for a person to look at.
    Unreadable {
        /// The source.
        source: SourceName,
        /// Names it among the source's events.
        id: EventId,
        /// What is wrong with it.
        reason: String,
        /// What the source sent.
        document: Value,
    },
    /// A job: bring one person in step with the ledger.
    Reconcile {
        /// The person's SCIM `id`, or one of their Flex users.
        user: FlexUserSid,
        /// What asks for it, like `scim-group:fggrp_0123@7` or `sweep:2026-11-26T10:00:00Z`. Holds nothing personal.
        /// The queue takes one job of each cause for a user.
        cause: String,
        /// A role that they had by a group, if that is why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<LeftGroup>,
    },
    /// A job: have many members of a SCIM group reconciled.
    FanOut {
        /// The group's SCIM `id`.
        group: String,
        /// The version of the group that asks for it.
        version: u64,
        /// Which part of the members this is: a message has room for so many.
        part: usize,
        /// The members who joined, left or get another role.
        members: Vec<ChangedMember>,
    },
}

/// A role that somebody had by a SCIM group. It counts as given, although no statement may say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftGroup {
    /// The group's SCIM `id`.
    pub group: String,
    /// The role.
    pub role: Role,
}

/// A member of whom something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedMember {
    /// The person's SCIM `id`.
    pub user: FlexUserSid,
    /// The role that they had by the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<Role>,
}

/// So many members are in one message: SQS takes 256 KiB in a request of ten.
const PART: usize = 400;

/// The two queues. Work in bulk has one of its own, so that a leaver never waits behind 5,000 jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Identity events.
    Events,
    /// Jobs.
    Bulk,
}

impl Lane {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Events, Self::Bulk];
}

impl Message {
    /// The jobs that have these members of the group reconciled.
    #[must_use]
    pub fn fan_out(group: &str, version: u64, members: &[ChangedMember]) -> Vec<Self> {
        let job = |(part, members): (usize, &[ChangedMember])| Self::FanOut {
            group: group.to_owned(),
            version,
            part,
            members: members.to_vec(),
        };
        members.chunks(PART).enumerate().map(job).collect()
    }

    /// The source; `flexgate` for a job.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Event(event) => event.source.as_str(),
            Self::Unreadable { source, .. } => source.as_str(),
            Self::Reconcile { .. } | Self::FanOut { .. } => OWN,
        }
    }

    /// The event's id at the source; of a job, what it is to do and why.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        match self {
            Self::Event(event) => event.id.as_str().into(),
            Self::Unreadable { id, .. } => id.as_str().into(),
            Self::Reconcile { user, cause, .. } => format!("reconcile:{user}:{cause}").into(),
            Self::FanOut { group, version, part, .. } => format!("fan-out:{group}@{version}/{part}").into(),
        }
    }

    /// Names the message everywhere: the queue takes it once.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Event(_) | Self::Unreadable { .. } => fingerprint(&[self.source(), &self.id()]),
            Self::Reconcile { user, cause, .. } => fingerprint(&["reconcile", user.as_str(), cause]),
            Self::FanOut { group, version, part, .. } => {
                fingerprint(&["fan-out", group, &version.to_string(), &part.to_string()])
            }
        }
    }

    /// Messages of one group are handled one after the other, in the order they came.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::Event(event) => fingerprint(&["subject", event.source.as_str(), event.subject.id.as_str()]),
            Self::Unreadable { .. } => fingerprint(&["unreadable", &self.key()]),
            Self::Reconcile { user, .. } => fingerprint(&["flex-user", user.as_str()]),
            Self::FanOut { group, .. } => fingerprint(&["scim-group", group]),
        }
    }

    /// The queue that the message belongs in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Self::Event(_) | Self::Unreadable { .. } => Lane::Events,
            Self::Reconcile { .. } | Self::FanOut { .. } => Lane::Bulk,
        }
    }

    /// The group and the lane of a message's body. What cannot be read is an event in a group of its own.
    pub(super) fn place(body: &str) -> (String, Lane) {
        match serde_json::from_str::<Self>(body) {
            Ok(message) => (message.group(), message.lane()),
            Err(_) => (fingerprint(&["body", body]), Lane::Events),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn user(number: u8) -> FlexUserSid {
        format!("FU{number:032x}").parse().unwrap()
    }

    fn reconcile(number: u8, cause: &str) -> Message {
        Message::Reconcile { user: user(number), cause: cause.into(), left: None }
    }

    fn fan_out(group: &str, version: u64) -> Message {
        Message::FanOut { group: group.into(), version, part: 0, members: Vec::new() }
    }

    #[test]
    fn a_job_comes_back_from_json_as_it_was() {
        let jobs = [reconcile(1, "sweep:2026-11-26T10:00:00Z"), fan_out("fggrp_1", 7)];
        let documents = [
            json!({ "kind": "reconcile", "user": user(1), "cause": "sweep:2026-11-26T10:00:00Z" }),
            json!({ "kind": "fan_out", "group": "fggrp_1", "version": 7, "part": 0, "members": [] }),
        ];
        for (job, document) in jobs.iter().zip(documents) {
            assert_eq!(serde_json::to_value(job).unwrap(), document);
            assert_eq!(&serde_json::from_value::<Message>(document).unwrap(), job);
            assert_eq!((job.source(), job.lane()), ("flexgate", Lane::Bulk));
        }
        assert_eq!(jobs[1].id(), "fan-out:fggrp_1@7/0");
    }

    #[test]
    fn a_second_job_that_is_needed_has_another_key_and_the_same_one_has_the_same() {
        let different = [
            reconcile(1, "scim-group:fggrp_1@7"),
            reconcile(1, "scim-group:fggrp_1@8"),
            reconcile(2, "scim-group:fggrp_1@7"),
            fan_out("fggrp_1", 7),
            fan_out("fggrp_1", 8),
            fan_out("fggrp_2", 7),
        ];
        let keys: BTreeSet<_> = different.iter().map(Message::key).collect();
        assert_eq!(keys.len(), different.len());
        assert_eq!(different[0].key(), reconcile(1, "scim-group:fggrp_1@7").key());
        assert_eq!(different[3].key(), fan_out("fggrp_1", 7).key());
    }

    #[test]
    fn jobs_of_one_user_or_of_one_scim_group_wait_for_each_other() {
        assert_eq!(reconcile(1, "a").group(), reconcile(1, "b").group());
        assert_ne!(reconcile(1, "a").group(), reconcile(2, "a").group());
        assert_eq!(fan_out("fggrp_1", 7).group(), fan_out("fggrp_1", 8).group());
        assert_ne!(fan_out("fggrp_1", 7).group(), fan_out("fggrp_2", 7).group());
    }
}
