//! Finds idle users: active users whose `TaskRouter` worker has had the same activity for a long time. An idle user
//! still uses a Flex licence (seat).

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{Ledger, LedgerError};
use crate::base::outbound::Deadline;
use crate::domain::{FlexUserSid, WorkerSid};
use crate::twilio::TwilioError;

impl Ledger {
    /// Returns the Flex users of those `workers` whose activity last changed before `since`. A worker for whom this
    /// time is unknown does not count as idle.
    pub(super) async fn idle(
        &self,
        workers: &BTreeMap<WorkerSid, FlexUserSid>,
        since: OffsetDateTime,
        each_call: impl Fn() -> Deadline,
    ) -> Result<Vec<FlexUserSid>, LedgerError> {
        let flex = self.provisioning.flex();
        let instance = flex.discover(each_call()).await?;
        let workspace = instance.workspace_sid.ok_or(TwilioError::Malformed("it names no TaskRouter workspace"))?;
        let (mut idle, mut token) = (Vec::new(), None);
        loop {
            let page = flex.workers(&workspace, token.as_deref(), each_call()).await?;
            let is_idle = |at: Option<OffsetDateTime>| at.is_some_and(|at| at <= since);
            let found = page.workers.iter().filter(|worker| is_idle(worker.status_changed));
            idle.extend(found.filter_map(|worker| workers.get(&worker.sid)).cloned());
            // Also stop if Twilio repeats a page token. Otherwise, this loop would never end.
            if page.next_page_token.is_none() || page.next_page_token == token {
                return Ok(idle);
            }
            token = page.next_page_token;
        }
    }
}
