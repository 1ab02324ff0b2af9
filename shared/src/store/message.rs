//! The messages in the queue: identity events, and jobs that Flexgate makes itself.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Note, fingerprint};
use crate::domain::ledger::{PersonId, Source};
use crate::domain::{EventId, FlexUserSid, IdentityEvent, Role, SourceName};

/// The source name in the jobs that come from no source: [`Message::Reconcile`] and [`Message::FanOut`].
const OWN: &str = "flexgate";

/// A message in the queue, stored as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// An identity event to apply.
    Event(IdentityEvent),
    /// A verified delivery that Flexgate cannot read. It becomes a dead letter, so that an operator can inspect it.
    Unreadable {
        /// The source.
        source: SourceName,
        /// The source's id of the event.
        id: EventId,
        /// What is wrong with the delivery.
        reason: String,
        /// The document that the source sent.
        document: Value,
    },
    /// A job that handles the end of a group, an application or a directory at a source. It queues a
    /// [`Message::Consequence`] for each person who belonged to it.
    Ended {
        /// The source.
        source: SourceName,
        /// The event that reported the end.
        event: EventId,
        /// When the group, application or directory ended, by the source's clock.
        #[serde(with = "time::serde::rfc3339")]
        occurred_at: OffsetDateTime,
        /// The group, application or directory that has ended.
        ended: Ended,
        /// The last person whom the previous job handled. This job continues after that person. `None` for the first
        /// job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<PersonId>,
    },
    /// An event for one person that follows from the end of a group, an application or a directory. It is applied like
    /// an event from the source.
    Consequence {
        /// An event that has the same effect on this person as the end of the group, application or directory.
        event: IdentityEvent,
        /// The group, application or directory that has ended.
        ended: Ended,
    },
    /// A security signal to apply. It says that sessions must end, that a person's account was disabled, or that it was
    /// enabled.
    Signal {
        /// What has happened to whom.
        event: IdentityEvent,
        /// Another source in the ledger, which uses the same ids for people as the sender of the signal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        people_of: Option<Source>,
        /// The type of the signal, as its sender names it.
        reason: Box<str>,
    },
    /// A job that stores a note for administrators.
    Note(Note),
    /// A job that reconciles one person with the ledger.
    Reconcile {
        /// The SID of the person's current Flex user, or of an earlier one. In a job that a [`Message::FanOut`] queues,
        /// this is the person's SCIM `id`.
        user: FlexUserSid,
        /// The cause of the job, like `scim-group:fggrp_0123@7` or `sweep:2026-11-26T10:00:00Z`, without personal data.
        /// The queue accepts only one job for each cause and user.
        cause: String,
        /// The group that the person has left, and the role that the group gave. `None` if the job has another cause.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<LeftGroup>,
    },
    /// A job for a change to a SCIM group that affects many members. It queues a [`Message::Reconcile`] for each
    /// affected member.
    FanOut {
        /// The group's SCIM `id`.
        group: String,
        /// The version of the group after the change.
        version: u64,
        /// The position of this job among the jobs for the same change. A change that affects many members needs
        /// several jobs, because a message has room for a limited number of members.
        part: usize,
        /// The members who joined or left the group, or whose role from the group changed.
        members: Vec<ChangedMember>,
    },
}

/// A group, an application or a directory that no longer exists at a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The source's id for a group or an application. All memberships in it have ended.
    Membership(Box<str>),
    /// The source's id for a directory or an organisation. All people who belonged to it are inactive.
    Directory(Box<str>),
}

impl Ended {
    /// Returns the source's id for the group, application or directory.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Membership(id) | Self::Directory(id) => id,
        }
    }
}

/// A SCIM group that a person has left, and the role that the person had from this group. Flexgate removes a role only
/// if Flexgate itself gave it. This role counts as given by Flexgate, even if no statement mentions the role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftGroup {
    /// The group's SCIM `id`.
    pub group: String,
    /// The role that the group gave.
    pub role: Role,
}

/// A member whose membership or role changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedMember {
    /// The person's SCIM `id`.
    pub user: FlexUserSid,
    /// The role that the group gave to the person before the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<Role>,
}

/// The maximum number of members in one message. Ten such messages fit into the 256 KiB that SQS accepts in one
/// request.
const PART: usize = 400;

/// The queue's two lanes. Bulk jobs have their own lane, so that an event which deactivates a person never waits
/// behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Identity events.
    Events,
    /// Jobs.
    Bulk,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Events, Self::Bulk];
}

impl Message {
    /// The JSON names of all kinds of messages that this version can read.
    pub const KINDS: [&str; 8] =
        ["event", "signal", "unreadable", "ended", "consequence", "note", "reconcile", "fan_out"];

    /// Makes the jobs that queue a reconciliation for each of these members of the group.
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

    /// Returns the source of the message, or `flexgate` for a job that comes from no source.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Event(event) | Self::Signal { event, .. } | Self::Consequence { event, .. } => event.source.as_str(),
            Self::Unreadable { source, .. } | Self::Ended { source, .. } => source.as_str(),
            Self::Reconcile { .. } | Self::FanOut { .. } => OWN,
            Self::Note(note) => &note.source,
        }
    }

    /// Returns the source's id for the event. For a job, returns a description of the job and its cause.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        match self {
            Self::Event(event) | Self::Signal { event, .. } | Self::Consequence { event, .. } => {
                event.id.as_str().into()
            }
            Self::Ended { event, after: None, .. } => event.as_str().into(),
            Self::Ended { event, after: Some(after), .. } => format!("{event}>{after}").into(),
            Self::Unreadable { id, .. } => id.as_str().into(),
            Self::Note(note) => format!("note:{}@{}", note.key(), note.at.unix_timestamp_nanos()).into(),
            Self::Reconcile { user, cause, .. } => format!("reconcile:{user}:{cause}").into(),
            Self::FanOut { group, version, part, .. } => format!("fan-out:{group}@{version}/{part}").into(),
        }
    }

    /// Returns the key by which the queue recognises a repeated message. Different messages have different keys. If a
    /// message is sent twice, the queue accepts it only once.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Event(_) | Self::Signal { .. } | Self::Unreadable { .. } | Self::Ended { .. } | Self::Note(_) => {
                fingerprint(&[self.source(), &self.id()])
            }
            Self::Consequence { event, .. } => {
                fingerprint(&["consequence", self.source(), event.id.as_str(), event.subject.id.as_str()])
            }
            Self::Reconcile { user, cause, .. } => fingerprint(&["reconcile", user.as_str(), cause]),
            Self::FanOut { group, version, part, .. } => {
                fingerprint(&["fan-out", group, &version.to_string(), &part.to_string()])
            }
        }
    }

    /// Returns the message group, as in an SQS FIFO queue. Messages in one group are processed one at a time, in the
    /// order of arrival.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::Event(event) | Self::Signal { event, .. } | Self::Consequence { event, .. } => {
                fingerprint(&["subject", event.source.as_str(), event.subject.id.as_str()])
            }
            Self::Note(note) => fingerprint(&["note", &note.key()]),
            Self::Ended { source, ended, .. } => fingerprint(&["ended", source.as_str(), ended.id()]),
            Self::Unreadable { .. } => fingerprint(&["unreadable", &self.key()]),
            Self::Reconcile { user, .. } => fingerprint(&["flex-user", user.as_str()]),
            Self::FanOut { group, .. } => fingerprint(&["scim-group", group]),
        }
    }

    /// Returns the lane that the message belongs to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            // The Lambda function `webhooks` sends these messages. They cannot use the bulk lane, because this function
            // has no permission to send to the bulk queue.
            Self::Event(_)
            | Self::Signal { .. }
            | Self::Unreadable { .. }
            | Self::Ended { after: None, .. }
            | Self::Note(_) => Lane::Events,
            Self::Reconcile { .. }
            | Self::FanOut { .. }
            | Self::Ended { after: Some(_), .. }
            | Self::Consequence { .. } => Lane::Bulk,
        }
    }

    /// Returns the message group and the lane for a message body. A body that is not a valid message goes to the lane
    /// for events, in a group of its own.
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

    /// Returns two messages that the function `webhooks` can send: a note for administrators, and a job that handles
    /// the end of a directory. `after` is the last person whom the previous job handled.
    fn of_webhooks(after: Option<PersonId>) -> [Message; 2] {
        let at = time::macros::datetime!(2026-01-01 09:00 UTC);
        let note = Note {
            noted: crate::store::Noted::Ignored,
            source: "workos".into(),
            route: "session.revoked".into(),
            code: "ignored".into(),
            reason: "a session".into(),
            external_id: None,
            times: 1,
            at,
        };
        let (source, event, ended) = ("workos".parse().unwrap(), "e1".parse().unwrap(), Ended::Directory("d".into()));
        [Message::Note(note), Message::Ended { source, event, occurred_at: at, ended, after }]
    }

    #[test]
    fn what_the_webhooks_function_sends_goes_to_the_only_queue_that_it_may_use() {
        for message in of_webhooks(None) {
            assert_eq!((message.lane(), message.source()), (Lane::Events, "workos"));
            let document = serde_json::to_value(&message).unwrap();
            assert_eq!(serde_json::from_value::<Message>(document).unwrap(), message);
        }
        // A follow-up job continues where the previous job stopped. The function `apply` sends it, and may use the bulk
        // queue. The key of a follow-up job differs from the first job's key.
        let [_, first] = of_webhooks(None);
        let [_, next] = of_webhooks(Some(PersonId::of([7; 16])));
        assert_eq!(next.lane(), Lane::Bulk);
        assert_ne!(next.key(), first.key());
        assert_eq!(next.group(), first.group());
    }
}
