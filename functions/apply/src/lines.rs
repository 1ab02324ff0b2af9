//! Writes the log line and the audit events for each attempt to handle a message.

use std::borrow::Cow;

use flexgate::domain::{FlexUserSid, IdentityEvent};
use flexgate::store::Message;
use flexgate::telemetry::{Audit, Decision, RequestId};
use flexgate::users::ledger::{Outcome, Report};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::events::Applied;
use crate::signals::Signalled;

/// The maximum lifetime of an access token from Twilio's SSO.
const LONGEST_TOKEN: Duration = Duration::HOUR;

/// One attempt to handle a message.
pub(crate) struct Try<'m> {
    request_id: RequestId,
    message: &'m Message,
    what: &'static str,
    event_id: Cow<'m, str>,
    attempts: u32,
}

impl<'m> Try<'m> {
    pub(crate) fn new(request_id: RequestId, message: &'m Message, attempts: u32) -> Self {
        let what = match message {
            Message::Event(_) | Message::Signal { .. } | Message::Consequence { .. } | Message::Unreadable { .. } => {
                "event"
            }
            Message::Reconcile { .. } | Message::FanOut { .. } | Message::Ended { .. } | Message::Note(_) => "job",
        };
        Self { request_id, message, what, event_id: message.id(), attempts }
    }

    /// Records that an event was applied. Also records each role that the person did not get, and the fields that
    /// Flexgate could not change.
    pub(crate) fn applied(&self, event: &IdentityEvent, applied: &Applied) {
        self.done(applied.outcome.as_str());
        for role in &applied.dropped_roles {
            audit(&self.request_id, event, Some(applied), &format!("role_dropped: {role}"), Decision::Refused);
        }
        if !applied.blocked.is_empty() {
            let reason = format!("not_changed: {}", applied.blocked.join(", "));
            audit(&self.request_id, event, Some(applied), &reason, Decision::Refused);
        }
        if changes(applied.outcome) {
            audit(&self.request_id, event, Some(applied), applied.outcome.as_str(), Decision::Allowed);
        }
    }

    /// Records that a signal was applied, and which sessions it ended. `reason` is the type of the signal.
    pub(crate) fn signalled(&self, event: &IdentityEvent, reason: &str, signalled: &Signalled, now: OffsetDateTime) {
        let Signalled { ended, is_known, applied } = signalled;
        let outcome = match applied {
            Some(applied) => applied.outcome.as_str(),
            None if !ended.is_empty() => "sessions_ended",
            None if *is_known => "no_session",
            None => "no_user",
        };
        self.done(outcome);
        // The access token that a page already has stays valid until it expires, because Twilio cannot revoke it.
        let until = (now + LONGEST_TOKEN).format(&Rfc3339).unwrap_or_default();
        for (user, session) in ended {
            let reason = format!("{reason}: session {}, its token lives until {until} at most", session.as_str());
            self.audit_signal("end_session", event, Some(user.as_str()), &reason);
        }
        if applied.is_none() && ended.is_empty() {
            let reason = format!("{reason}: {}", if *is_known { "no session" } else { "nobody known" });
            self.audit_signal("end_sessions", event, None, &reason);
        }
        let Some(applied) = applied else { return };
        if !applied.blocked.is_empty() {
            let reason = format!("not_changed: {}", applied.blocked.join(", "));
            audit(&self.request_id, event, Some(applied), &reason, Decision::Refused);
        }
        if changes(applied.outcome) {
            let reason = format!("{}: {reason}", applied.outcome.as_str());
            audit(&self.request_id, event, Some(applied), &reason, Decision::Allowed);
        }
    }

    fn audit_signal(&self, action: &str, event: &IdentityEvent, user: Option<&str>, reason: &str) {
        let (issuer, subject) = (Some(event.source.as_str()), Some(event.id.as_str()));
        Audit { action, issuer, subject, flex_user_sid: user, reason: Some(reason) }
            .write(&self.request_id, Decision::Allowed);
    }

    /// Records the outcome of a job that updates one Flex user to match the ledger. `report` is `None` if the ledger
    /// does not know the Flex user.
    pub(crate) fn reconciled(&self, user: &FlexUserSid, cause: &str, report: Option<&Report>) {
        let outcome = report.map_or(Outcome::NoUser, |report| report.outcome);
        self.done(outcome.as_str());
        if let Some(report) = report.filter(|report| !report.blocked.is_empty()) {
            self.audit_job(Some(user), &format!("not_changed: {}", report.blocked.join(", ")), Decision::Refused);
        }
        if changes(outcome) {
            // Reactivation can give the user a new SID. Log the current one.
            let user = report.and_then(|report| report.user.as_ref()).map_or(user, |user| &user.flex_user_sid);
            self.audit_job(Some(user), &format!("{}: {cause}", outcome.as_str()), Decision::Allowed);
        }
    }

    /// Records that a job was queued for each of `members` members of a group.
    pub(crate) fn fanned_out(&self, members: usize) {
        let outcome = "fanned_out";
        tracing::info!(
            target: "flexgate::apply",
            request_id = self.request_id.as_str(), source = self.message.source(), event_id = &*self.event_id,
            attempts = self.attempts, outcome, members, "job"
        );
    }

    /// Records that a note was stored.
    pub(crate) fn noted(&self) {
        self.done("noted");
    }

    /// Records a failed attempt. The message will be attempted again.
    pub(crate) fn again(&self, fault: &str) {
        tracing::warn!(
            target: "flexgate::apply",
            request_id = self.request_id.as_str(), source = self.message.source(), event_id = &*self.event_id,
            attempts = self.attempts, fault, "{} not applied yet", self.what
        );
    }

    /// Records that the message became a dead letter.
    pub(crate) fn dead(&self, reason: &str) {
        tracing::error!(
            target: "flexgate::apply",
            request_id = self.request_id.as_str(), source = self.message.source(), event_id = &*self.event_id,
            attempts = self.attempts, fault = reason, "{} is a dead letter", self.what
        );
        match self.message {
            Message::Event(event) | Message::Signal { event, .. } | Message::Consequence { event, .. } => {
                audit(&self.request_id, event, None, reason, Decision::Refused);
            }
            Message::Unreadable { source, .. } => unreadable(&self.request_id, Some(source.as_str()), reason),
            Message::Reconcile { user, .. } => self.audit_job(Some(user), reason, Decision::Refused),
            Message::FanOut { .. } | Message::Ended { .. } | Message::Note(_) => {
                self.audit_job(None, reason, Decision::Refused);
            }
        }
    }

    fn done(&self, outcome: &str) {
        tracing::info!(
            target: "flexgate::apply",
            request_id = self.request_id.as_str(), source = self.message.source(), event_id = &*self.event_id,
            attempts = self.attempts, outcome, "{}", self.what
        );
    }

    fn audit_job(&self, user: Option<&FlexUserSid>, reason: &str, decision: Decision) {
        let (issuer, flex_user_sid) = (Some(self.message.source()), user.map(FlexUserSid::as_str));
        Audit { action: "apply_job", issuer, subject: Some(&self.event_id), flex_user_sid, reason: Some(reason) }
            .write(&self.request_id, decision);
    }
}

/// Records that a message in an unknown format became a dead letter.
pub(crate) fn strange(request_id: &RequestId, attempts: u32, reason: &str) {
    tracing::error!(
        target: "flexgate::apply",
        request_id = request_id.as_str(), attempts, fault = reason, "event is a dead letter"
    );
    unreadable(request_id, None, reason);
}

fn unreadable(request_id: &RequestId, issuer: Option<&str>, reason: &str) {
    Audit { action: "apply_event", issuer, subject: None, flex_user_sid: None, reason: Some(reason) }
        .write(request_id, Decision::Refused);
}

fn changes(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Created | Outcome::Updated | Outcome::Deactivated)
}

fn audit(request_id: &RequestId, event: &IdentityEvent, applied: Option<&Applied>, reason: &str, decision: Decision) {
    Audit {
        action: "apply_event",
        issuer: Some(event.subject.issuer.as_deref().unwrap_or(event.source.as_str())),
        subject: Some(event.subject.id.as_str()),
        flex_user_sid: applied.and_then(|applied| applied.user.as_ref()).map(FlexUserSid::as_str),
        reason: Some(reason),
    }
    .write(request_id, decision);
}
