//! The queue of identity events and jobs, its dead letters, and the record of events that were applied before the
//! people ledger existed.
//!
//! The queue delivers the messages about one subject in the order in which they arrived. It stores a message before it
//! acknowledges it, and accepts the same event only once. (On SQS FIFO, [`Message::group`] is the message group id and
//! [`Message::key`] the deduplication id.) It has two lanes, one for events and one for bulk jobs. Neither lane waits
//! for the other.

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::message::{Lane, Message};
use super::{StoreError, fingerprint};
use crate::domain::{History, SourceName, SubjectId};

/// The queue's sending end.
#[async_trait]
pub trait EventQueue: std::fmt::Debug + Send + Sync {
    /// Queues each message in its lane. If this succeeds, all messages are stored durably.
    ///
    /// If it fails, the caller must send all messages again. A local store has then queued none of them. SQS accepts
    /// ten messages at a time, so it may have queued some of them. If a message is already in the queue, or was there
    /// recently, the queue ignores it.
    async fn send(&self, messages: &[Message], now: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many messages are in a lane, and when the oldest arrived. Messages that a consumer is processing
    /// count too.
    async fn backlog(&self, lane: Lane) -> Result<Backlog, StoreError>;
}

/// The queue's receiving end. It is used if a process must take messages from the queue itself. With SQS this is not
/// necessary, because AWS delivers the messages to a function.
#[async_trait]
pub trait Inbox: std::fmt::Debug + Send + Sync {
    /// Returns a signal for the consumer. The signal is triggered when this process may have queued a message. It is
    /// not triggered by messages of other processes, so the consumer must also poll.
    fn arrivals(&self) -> Arc<Notify>;

    /// Takes at most `limit` messages of a lane, each about a different subject, and leases them until `until`. The
    /// caller must record the outcome of each message before that time (see `settle`). Otherwise the message can be
    /// taken again. Until the outcome is recorded, the next message about the same subject waits.
    async fn take(
        &self,
        lane: Lane,
        limit: u32,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<Taken>, StoreError>;

    /// Records the outcome of a message. Does nothing if another consumer has taken the message in the meantime.
    async fn settle(&self, taken: &Taken, settled: Settled, now: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many messages have `status`, in both lanes together.
    async fn count(&self, status: EventStatus) -> Result<u64, StoreError>;

    /// Removes messages that were applied long ago, and returns how many.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// A message leased from the queue.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Identifies the message in the queue.
    pub seq: i64,
    /// The message, JSON.
    pub body: String,
    /// How often the message has been taken, including this time.
    pub attempts: u32,
}

/// The outcome of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was applied.
    Applied,
    /// The message must be retried, but not before this time.
    Later(OffsetDateTime),
    /// The message cannot be applied. The string is the reason.
    Dead(String),
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many messages.
    pub waiting: u64,
    /// When the oldest of these messages arrived. `None` if there is no message, or if the queue does not report the
    /// time (SQS).
    pub oldest: Option<OffsetDateTime>,
}

/// Reads the record of the events that were applied to each subject before the people ledger existed. Flexgate needs
/// this record if an event is about somebody who is not in the ledger yet.
#[async_trait]
pub trait EventHistory: std::fmt::Debug + Send + Sync {
    /// Returns the record of the events that were applied to the subject.
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError>;
}

/// A message that could not be applied. It is stored together with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Identifies the dead letter: [`Message::key`], or a digest of the body if the body cannot be parsed as a message.
    pub key: String,
    /// The source of the message, or `flexgate` for a job. Empty if the body cannot be parsed.
    pub source: String,
    /// The event's id at the source. For a job, a text that says what the job does. Empty if the body cannot be parsed.
    pub event_id: String,
    /// The message as it was queued. Holds personal data.
    pub body: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not applied.
    pub reason: String,
    /// When it became a dead letter.
    pub since: OffsetDateTime,
}

impl DeadLetter {
    /// Makes the letter for a message's body.
    #[must_use]
    pub fn of(body: &str, attempts: u32, reason: impl Into<String>, since: OffsetDateTime) -> Self {
        let (key, source, event_id) = match serde_json::from_str::<Message>(body) {
            Ok(message) => (message.key(), message.source().to_owned(), message.id().into_owned()),
            Err(_) => (fingerprint(&["body", body]), String::new(), String::new()),
        };
        Self { key, source, event_id, body: body.to_owned(), attempts, reason: reason.into(), since }
    }
}

/// The status of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// In the queue.
    Waiting,
    /// Applied.
    Applied,
    /// A dead letter.
    Dead,
}

/// Messages that could not be applied.
#[async_trait]
pub trait DeadLetters: std::fmt::Debug + Send + Sync {
    /// Stores a letter. Replaces a letter with the same key.
    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError>;

    /// Returns at most `limit` letters, oldest first.
    async fn list(&self, limit: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// Returns the letter with that key.
    async fn find(&self, key: &str) -> Result<Option<DeadLetter>, StoreError>;

    /// Puts the letter's message back into the queue, as if it had never been tried. Returns false if there is no such
    /// letter.
    async fn revive(&self, key: &str, now: OffsetDateTime) -> Result<bool, StoreError>;
}
