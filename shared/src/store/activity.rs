//! What Flexgate refused or ignored lately, for administrators who look for the reason why something does not happen.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{StoreError, fingerprint};

/// How long a note is kept.
pub const NOTES_KEPT: Duration = Duration::days(7);

/// The maximum length of a text in a note, in characters.
const MAX_TEXT: usize = 300;

/// Why a note was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noted {
    /// Flexgate refused a request.
    Refused,
    /// Flexgate ignored an event that may change who has access.
    Ignored,
}

/// Something that Flexgate refused or ignored. Contains no personal data other than a client's own id of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Why the note was made.
    pub noted: Noted,
    /// The source or the client, such as `scim` or the name of a webhook source.
    pub source: Box<str>,
    /// The route, such as `POST /scim/v2/Users`; the event type of an ignored event.
    pub route: Box<str>,
    /// The problem's code; `ignored` for an ignored event.
    pub code: Box<str>,
    /// The reason, as the client was told.
    pub reason: Box<str>,
    /// The client's own id of the resource, if the request named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Box<str>>,
    /// How often it happened.
    pub times: u32,
    /// When it happened, or happened last.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

impl Note {
    /// The same note with its texts shortened, so that no client can fill the store.
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

    /// Notes of one day that differ only in their time are stored as one.
    pub(super) fn key(&self) -> String {
        let external_id = self.external_id.as_deref().unwrap_or_default();
        let noted = if self.noted == Noted::Refused { "refused" } else { "ignored" };
        fingerprint(&[&self.day(), noted, &self.source, &self.route, &self.code, &self.reason, external_id])
    }

    /// The day on which it happened (UTC), like `2026-11-27`.
    pub(super) fn day(&self) -> String {
        self.at.to_offset(time::UtcOffset::UTC).date().to_string()
    }
}

/// The notes of the last [`NOTES_KEPT`].
#[async_trait]
pub trait Notes: fmt::Debug + Send + Sync {
    /// Adds a note. If the store has the same note of the same day, adds to its number of times.
    async fn note(&self, note: &Note) -> Result<(), StoreError>;

    /// Returns the notes, the latest first.
    async fn notes(&self, now: OffsetDateTime) -> Result<Vec<Note>, StoreError>;
}
