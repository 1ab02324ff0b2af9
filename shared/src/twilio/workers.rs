//! The workers of the `TaskRouter` workspace.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::endpoints::Service;
use super::sender::{TwilioRequest, read};
use super::users::next_page_token;
use super::{Flex, TwilioError, wire};
use crate::base::outbound::Deadline;
use crate::domain::{WorkerSid, WorkspaceSid};

/// A page of workers.
#[derive(Debug)]
pub struct WorkerPage {
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// The token of the next page. `None` on the last page.
    pub next_page_token: Option<String>,
}

/// A worker, and when the worker's activity last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// The worker.
    pub sid: WorkerSid,
    /// When the activity last changed. `None` if Twilio's answer contains no valid time.
    pub status_changed: Option<OffsetDateTime>,
}

impl Flex {
    /// Returns one page of at most 1,000 workers (<https://www.twilio.com/docs/taskrouter/api/worker>).
    pub async fn workers(
        &self,
        workspace: &WorkspaceSid,
        page_token: Option<&str>,
        deadline: Deadline,
    ) -> Result<WorkerPage, TwilioError> {
        let mut url = self.sender.url(Service::TaskRouter, &["v1", "Workspaces", workspace.as_str(), "Workers"]);
        url.query_pairs_mut().append_pair("PageSize", "1000");
        if let Some(token) = page_token {
            url.query_pairs_mut().append_pair("PageToken", token);
        }
        let page = read::<wire::Workers>(&self.send(TwilioRequest::get(url), deadline).await?)?;
        let workers = page.workers.ok_or(TwilioError::Malformed("there is no list of workers"))?;
        let read = |worker: wire::ListedWorker| {
            let changed = worker.date_status_changed.as_deref();
            let status_changed = changed.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
            Some(WorkerStatus { sid: worker.sid?.parse().ok()?, status_changed })
        };
        let workers = workers.into_iter().filter_map(read).collect();
        Ok(WorkerPage { workers, next_page_token: next_page_token(page.meta) })
    }
}
