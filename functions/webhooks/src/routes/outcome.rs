//! The log lines, audit events and notes about a delivery.

use flexgate::domain::SourceName;
use flexgate::store::{Message, Note, Noted, note_briefly};
use flexgate::telemetry::{self, Audit, Decision};
use flexgate::web::{Context, Problem};

use crate::app::App;
use crate::catalogue::Row;

/// The maximum size of a delivery, in bytes. Identity systems send at most a few dozen events at once.
pub const MAX_DELIVERY: usize = 256 * 1024;

/// How many events of a delivery were queued, how many were ignored, and how many were dropped because they did not
/// contain the secret.
pub(crate) struct Counts {
    pub(crate) accepted: usize,
    pub(crate) ignored: usize,
    pub(crate) dropped: usize,
}

pub(crate) fn log_delivery(name: &SourceName, counts: &Counts, context: &Context) {
    let Counts { accepted, ignored, dropped } = *counts;
    tracing::info!(
        target: "flexgate::webhooks",
        request_id = context.request_id.as_str(), source = name.as_str(), accepted, ignored, dropped,
        "delivery"
    );
}

impl App {
    /// Stores a note about a refused delivery.
    pub(crate) async fn note_refused(&self, name: &SourceName, problem: &Problem) {
        let (code, reason) = (problem.kind().code, problem.detail());
        self.note(self.about(name, Noted::Refused, "POST /webhooks/{source}", code, reason)).await;
    }

    /// Counts and logs an ignored event that may change who has access, and stores a note about it for administrators.
    pub(crate) async fn note_ignored(&self, name: &SourceName, kind: &str, row: &Row, context: &Context) {
        telemetry::ignored_event();
        if self.note(self.about(name, Noted::Ignored, kind, "ignored", row.text)).await {
            tracing::warn!(
                target: "flexgate::webhooks",
                request_id = context.request_id.as_str(), source = name.as_str(), event_type = kind, why = row.text,
                "an event that may change who has access is ignored"
            );
        }
    }

    fn about(&self, source: &SourceName, noted: Noted, route: &str, code: &str, reason: &str) -> Note {
        Note {
            noted,
            source: source.as_str().into(),
            route: route.into(),
            code: code.into(),
            reason: reason.into(),
            external_id: None,
            times: 1,
            at: self.clock_rng.now(),
        }
    }

    /// Stores a note for administrators. Returns false without storing the note if an equal note was stored less than a
    /// minute ago, or if too many different notes were stored in the last minute. Ignores errors of the queue, because
    /// the sender must get the same answer with or without the note.
    async fn note(&self, note: Note) -> bool {
        let Some(note) = self.notices.due(note) else { return false };
        note_briefly(self.queue.send(&[Message::Note(note)], self.clock_rng.now())).await;
        true
    }
}

pub(crate) fn audit(name: &SourceName, reason: &str, context: &Context) {
    Audit { action: "webhook", issuer: Some(name.as_str()), reason: Some(reason), ..Audit::default() }
        .write(&context.request_id, Decision::Refused);
}
