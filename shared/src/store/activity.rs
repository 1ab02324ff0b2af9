//! Notes about refused requests and ignored events, kept for a week. They show an administrator why a change at the
//! identity system had no effect in Flex.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{StoreError, fingerprint};

/// How long a note is kept.
pub const NOTES_KEPT: Duration = Duration::days(7);

/// The maximum length of a string in a note, in characters.
const MAX_TEXT: usize = 300;

/// Why a note was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noted {
    /// Flexgate refused a request.
    Refused,
    /// Flexgate ignored an event that could have changed who has access.
    Ignored,
}

/// A refused request or an ignored event. The only personal data in it is the client's own id for a user or group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Why the note was made.
    pub noted: Noted,
    /// The source or the client, such as `scim` or the name of a webhook source.
    pub source: Box<str>,
    /// The route, such as `POST /scim/v2/Users`. For an ignored event, the type of the event.
    pub route: Box<str>,
    /// The code of the problem document in the answer. For an ignored event, `ignored`.
    pub code: Box<str>,
    /// The reason in the answer to the client.
    pub reason: Box<str>,
    /// The identity system's own id for the user or group. `None` if the request contained no such id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Box<str>>,
    /// The number of equal refusals or events.
    pub times: u32,
    /// The time of the latest refusal or event.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl Note {
    /// Returns the note with its long strings cut off, so that no client can fill the store.
    #[must_use]
    pub fn shortened(self) -> Self {
        let short = |text: Box<str>| text.chars().take(MAX_TEXT).collect::<String>().into();
        Self {
            source: short(self.source),
            route: short(self.route),
            code: short(self.code),
            reason: short(self.reason),
            external_id: self.external_id.map(short),
            ..self
        }
    }

    /// Returns the key under which the note is stored. Notes from the same day that differ only in their time have the
    /// same key. The store keeps them as one note with a counter.
    pub(super) fn key(&self) -> String {
        let external_id = self.external_id.as_deref().unwrap_or_default();
        let noted = if self.noted == Noted::Refused { "refused" } else { "ignored" };
        fingerprint(&[&self.day(), noted, &self.source, &self.route, &self.code, &self.reason, external_id])
    }

    /// The day (UTC) of the refusal or of the ignored event, like `2026-11-27`.
    pub(super) fn day(&self) -> String {
        self.at.to_offset(time::UtcOffset::UTC).date().to_string()
    }
}

/// The maximum time that a request waits for its note to be stored.
const WAIT: std::time::Duration = std::time::Duration::from_millis(300);

/// Waits until `storing` has stored a note, but gives up after a short time. A failure is only logged, and does not
/// change the answer to the request.
pub async fn note_briefly<T>(storing: impl Future<Output = Result<T, StoreError>>) {
    match tokio::time::timeout(WAIT, storing).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(error = %error, "a note could not be stored"),
        Err(_) => tracing::warn!("a note could not be stored in time"),
    }
}

/// The notes from the last seven days ([`NOTES_KEPT`]).
#[async_trait]
pub trait Notes: fmt::Debug + Send + Sync {
    /// Stores a note. If the store already has an equal note for that day, adds the note's `times` to the counter of
    /// the stored note.
    async fn note(&self, note: &Note) -> Result<(), StoreError>;

    /// Returns the notes, latest first.
    async fn notes(&self, now: OffsetDateTime) -> Result<Vec<Note>, StoreError>;
}
