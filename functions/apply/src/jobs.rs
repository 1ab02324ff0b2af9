//! Runs queued jobs. A job updates one person's Flex user to match the people ledger, or queues a job for each of many
//! people.
//!
//! A job reads the current data when it runs. So a job may safely run twice, late, or after a job that was queued
//! later.

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{PersonId, Source};
use flexgate::domain::{
    Action, EventId, FlexUserSid, IdentityEvent, Moment, PersonProfile, SourceName, Subject, SubjectId,
};
use flexgate::platform::Platform;
use flexgate::store::{ChangedMember, Ended, EventQueue, LeftGroup, Message};
use flexgate::users::ledger::{Ledger, LedgerError, Report};
use time::OffsetDateTime;

/// A job reads another batch of people only if at least this much time is left.
const WORTH_READING_ON: Duration = Duration::from_secs(5);

/// The content of a [`Message::Ended`]: a source has deleted a group or a directory.
pub(crate) struct Ending<'m> {
    pub(crate) source: &'m SourceName,
    pub(crate) event: &'m EventId,
    pub(crate) occurred_at: OffsetDateTime,
    pub(crate) ended: &'m Ended,
    pub(crate) after: Option<PersonId>,
}

impl Ending<'_> {
    /// Returns the message that applies the deletion to one person.
    fn consequence(&self, subject: &SubjectId) -> Message {
        let event = IdentityEvent {
            id: self.event.clone(),
            source: self.source.clone(),
            occurred_at: self.occurred_at,
            subject: Subject { id: subject.clone(), issuer: None },
            profile: PersonProfile::default(),
            action: Action::Deactivate,
            membership: match self.ended {
                Ended::Membership(group) => Some(group.clone()),
                Ended::Directory(_) => None,
            },
            directory: None,
            look_up: false,
        };
        Message::Consequence { event, ended: self.ended.clone() }
    }

    fn moment(&self) -> Moment {
        Moment { at: self.occurred_at, deactivates: true, id: self.event.clone() }
    }

    fn rest(&self, after: PersonId) -> Message {
        Message::Ended {
            source: self.source.clone(),
            event: self.event.clone(),
            occurred_at: self.occurred_at,
            ended: self.ended.clone(),
            after: Some(after),
        }
    }
}

/// What running a job needs.
#[derive(Debug)]
pub(crate) struct Jobs {
    ledger: Ledger,
    queue: Arc<dyn EventQueue>,
    clock_rng: ClockRng,
}

impl Jobs {
    pub(crate) fn new(ledger: Ledger, platform: &Platform) -> Self {
        Self { ledger, queue: platform.queue(), clock_rng: platform.clock_rng.clone() }
    }

    /// Updates the Flex user to match the ledger. Returns `None` if the ledger has no person with this Flex user.
    pub(crate) async fn reconcile(
        &self,
        user: &FlexUserSid,
        left: Option<&LeftGroup>,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let left = left.map(|left| (left.group.as_str(), left.role));
        self.ledger.reconcile_member(user, left, deadline).await
    }

    /// Records that a group or a directory was deleted, so that a late event cannot restore anybody's access. Then
    /// queues a [`Message::Consequence`] for each affected person. If time runs out, queues a job for the remaining
    /// people. Running this twice is safe, because the queue accepts each message only once.
    ///
    /// Returns the number of affected people, and the number of people whose directory is unknown. Flexgate does not
    /// change people whose directory is unknown. Otherwise, the deletion of a test directory could lock everybody out.
    pub(crate) async fn end(&self, ending: &Ending<'_>, deadline: Deadline) -> Result<(usize, usize), LedgerError> {
        let source = Source::Webhook(ending.source.clone());
        if ending.after.is_none() {
            self.ledger.record_ending(&source, ending.ended, &ending.moment()).await?;
        }
        let (mut after, mut people, mut unknown) = (ending.after, 0, 0);
        loop {
            let concerned = self.ledger.concerned_by(&source, ending.ended, after).await?;
            let messages: Vec<Message> = concerned.subjects.iter().map(|subject| ending.consequence(subject)).collect();
            self.queue.send(&messages, self.clock_rng.now()).await?;
            people += messages.len();
            unknown += concerned.unknown;
            let Some(last) = concerned.last else { return Ok((people, unknown)) };
            after = Some(last);
            if deadline.remaining() < WORTH_READING_ON {
                self.queue.send(&[ending.rest(last)], self.clock_rng.now()).await?;
                return Ok((people, unknown));
            }
        }
    }

    /// Queues a job for each member. Running this twice is safe, because the queue accepts each job only once.
    pub(crate) async fn fan_out(
        &self,
        group: &str,
        version: u64,
        members: &[ChangedMember],
    ) -> Result<(), LedgerError> {
        let cause = format!("scim-group:{group}@{version}");
        let job = |member: &ChangedMember| Message::Reconcile {
            user: member.user.clone(),
            cause: cause.clone(),
            left: member.had.map(|role| LeftGroup { group: group.to_owned(), role }),
        };
        let jobs: Vec<Message> = members.iter().map(job).collect();
        Ok(self.queue.send(&jobs, self.clock_rng.now()).await?)
    }
}
