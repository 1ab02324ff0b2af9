//! The JSON formats of reservations, tasks and participants, as the SDK's `TaskRouter` and interactions libraries read
//! them. Times are numbers of seconds.

use serde_json::{Map, Value, json};

use super::{Conference, Participant, Reservation, Status, Task};
use crate::{ACCOUNT_SID, INSTANCE_SID, WORKSPACE_SID};

impl Reservation {
    /// The whole reservation, as events and lists contain it.
    pub(super) fn payload(&self, now: i64) -> Value {
        let mut payload = self.answer();
        payload["reservation_timeout"] = 120.into();
        payload["task"] = self.task_payload(now);
        payload
    }

    /// The answer to a request that changes the reservation. The SDK expects neither the task nor the timeout in this
    /// answer.
    pub(super) fn answer(&self) -> Value {
        json!({
            "account_sid": ACCOUNT_SID, "workspace_sid": WORKSPACE_SID, "sid": self.sid, "worker_sid": self.worker_sid,
            "task_sid": self.task.sid, "reservation_status": self.status.name(), "date_created": self.created,
            "date_updated": self.updated, "version": self.version.to_string(),
        })
    }

    pub(super) fn task_payload(&self, now: i64) -> Value {
        let status = match self.status {
            Status::Pending => "reserved",
            Status::Accepted => "assigned",
            Status::Rejected => "pending",
            Status::Wrapping => "wrapping",
            Status::Completed => "completed",
        };
        json!({
            "account_sid": ACCOUNT_SID, "workspace_sid": WORKSPACE_SID, "sid": self.task.sid, "addons": "{}",
            "age": now - self.created, "attributes": Value::Object(self.task.attributes.clone()).to_string(),
            "assignment_status": status, "date_created": self.created, "date_updated": self.updated, "priority": 0,
            "queue_name": "Everyone", "queue_sid": "WQ00000000000000000000000000000001", "reason": null,
            "routing_target": null, "task_channel_sid": "TC00000000000000000000000000000001",
            "task_channel_unique_name": self.task.channel, "timeout": 86_400, "version": self.version.to_string(),
            "virtual_start_time": self.created, "workflow_name": "Assign to Anyone",
            "workflow_sid": "WW00000000000000000000000000000001",
        })
    }

    /// Who takes part in the call, in the order in which they joined.
    pub(super) fn participants(&self) -> Vec<Value> {
        let Some(conference) = &self.task.conference else { return Vec::new() };
        let customer = self.participant(conference, &conference.customer);
        let agent = conference.agent.as_ref().map(|agent| self.participant(conference, agent));
        [Some(customer), agent].into_iter().flatten().collect()
    }

    pub(super) fn participant(&self, conference: &Conference, one: &Participant) -> Value {
        let is_agent = conference.agent.as_ref().is_some_and(|agent| agent.sid == one.sid);
        let routing = if is_agent {
            json!({ "task_sid": self.task.sid, "reservation_sid": self.sid, "worker_sid": self.worker_sid })
        } else {
            json!({ "task_sid": self.task.sid, "reservation_sid": null, "worker_sid": null })
        };
        // Each value is a list of strings, because the SDK reads the first item of each list.
        let media = json!({
            "account_sid": [ACCOUNT_SID], "call_sid": [one.call_sid], "conference_sid": [conference.sid],
            "hold": [one.on_hold.to_string()], "muted": ["false"], "coaching": ["false"],
        });
        json!({
            "sid": one.sid, "type": if is_agent { "agent" } else { "customer" }, "routing_properties": routing,
            "media_properties": media, "channel_sid": conference.channel_sid,
            "interaction_sid": self.task.interaction_sid(),
        })
    }

    /// The call as a channel of the task's interaction.
    pub(super) fn channel(&self) -> Option<Value> {
        let conference = self.task.conference.as_ref()?;
        let status = if matches!(self.status, Status::Pending | Status::Accepted) { "active" } else { "closed" };
        Some(json!({
            "sid": conference.channel_sid, "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID,
            "interaction_sid": self.task.interaction_sid(), "media_sid": conference.sid, "type": "voice",
            "status": status,
        }))
    }
}

impl Task {
    /// The interaction's SID, derived from the task's SID. The SDK derives the SID in the same way.
    pub(super) fn interaction_sid(&self) -> String {
        format!("KD{}", self.sid.trim_start_matches("WT"))
    }

    /// Adds the call's SIDs to the attributes, as `TaskRouter` does when the worker's phone answers.
    pub(super) fn record_conference(&mut self) {
        let Some(Conference { sid, customer, agent: Some(agent), .. }) = &self.conference else { return };
        let participants = json!({ "customer": customer.call_sid, "worker": agent.call_sid });
        let conference = Map::from_iter([("sid".to_owned(), json!(sid)), ("participants".to_owned(), participants)]);
        self.attributes.insert("conference".to_owned(), Value::Object(conference));
    }
}
