//! Jobs: reconcile one person, or queue a job for each of many members of a SCIM group.
//!
//! A job carries no data that could become outdated: it reads the current state when it runs. So a job may run twice,
//! late, or after a later job.

use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::FlexUserSid;
use flexgate::platform::Platform;
use flexgate::store::{ChangedMember, EventQueue, LeftGroup, Message};
use flexgate::users::ledger::{Ledger, LedgerError, Report};

/// Does jobs.
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

    /// Updates the person's Flex user to match the ledger. Returns `None` if there is no such Flex user.
    pub(crate) async fn reconcile(
        &self,
        user: &FlexUserSid,
        left: Option<&LeftGroup>,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let left = left.map(|left| (left.group.as_str(), left.role));
        self.ledger.reconcile_member(user, left, deadline).await
    }

    /// Queues a job for each of the members. If it is interrupted, it starts again from the beginning. That is safe,
    /// because the queue accepts each job only once.
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
