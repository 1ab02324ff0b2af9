//! The queue, its dead letters (messages that could not be applied), and the events that versions before 0.2.0
//! recorded. The queue contains identity events (changes to people that a webhook source has reported) and jobs (work
//! that Flexgate queues for itself).
//!
//! The queue stores a message before it acknowledges it, accepts an event only once, and delivers the messages about
//! one subject (such as a person) in order. (On SQS FIFO, [`Message::group`] is the message group id and
//! [`Message::key`] the deduplication id.)
//!
//! The queue has two lanes, one for events and one for bulk jobs. Neither lane waits for the other.

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
    /// Queues each message in its lane. Success means that all messages are stored durably.
    ///
    /// After a failure, the caller must send all messages again. SQS may have queued some of them, and ignores those
    /// when they arrive again.
    async fn send(&self, messages: &[Message], now: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many messages are in a lane, including those in progress, and when the oldest arrived.
    async fn backlog(&self, lane: Lane) -> Result<Backlog, StoreError>;
}

/// The queue's receiving end, for a process that takes messages from the queue itself. With SQS it is not needed,
/// because AWS delivers the messages to a function.
#[async_trait]
pub trait Inbox: std::fmt::Debug + Send + Sync {
    /// Returns a signal that is triggered when this process queues messages. Messages from other processes do not
    /// trigger it, so the consumer must also poll.
    fn arrivals(&self) -> Arc<Notify>;

    /// Takes at most `limit` messages from a lane, each about a different subject, with a lease that ends at `until`.
    ///
    /// The caller must record the outcome of each message with `settle` before its lease ends. Otherwise the message
    /// can be taken again. The next message about the same subject waits for the outcome.
    async fn take(
        &self,
        lane: Lane,
        limit: u32,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<Taken>, StoreError>;

    /// Records the outcome of a message. Does nothing if another consumer has taken the message in the meantime.
    async fn settle(&self, taken: &Taken, settled: Settled, now: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns how many messages in both lanes have the status `status`.
    async fn count(&self, status: EventStatus) -> Result<u64, StoreError>;

    /// Removes messages that were applied long ago, and returns their number.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// A message leased from the queue.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The number that identifies the message in the queue.
    pub seq: i64,
    /// The message as JSON.
    pub body: String,
    /// The number of times that the message has been taken, including this time.
    pub attempts: u32,
}

/// The outcome of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The message was applied.
    Applied,
    /// The message must be retried, but not before this time.
    Later(OffsetDateTime),
    /// The message cannot be applied. The string is the reason.
    Dead(String),
}

/// The messages in a lane of the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of messages.
    pub waiting: u64,
    /// When the oldest message arrived. `None` if the lane is empty, or with SQS, which does not report this time.
    pub oldest: Option<OffsetDateTime>,
}

/// Reads the events that versions before 0.2.0 recorded. These versions had no people ledger. When an event is about
/// somebody who is not in the ledger yet, Flexgate compares it with the recorded events, so that an old event does not
/// undo a newer one.
#[async_trait]
pub trait EventHistory: std::fmt::Debug + Send + Sync {
    /// Returns the recorded events about the subject.
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError>;
}

/// A message that could not be applied, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The key of the dead letter: [`Message::key`], or a digest of the body if the body is not a valid message.
    pub key: String,
    /// The source of the message, or `flexgate` for a job that comes from no source. Empty if the body is not a valid
    /// message.
    pub source: String,
    /// The source's id for the event. For a job, a description of the job. Empty if the body is not a valid message.
    pub event_id: String,
    /// The message as it was queued. It contains personal data.
    pub body: String,
    /// The number of times that Flexgate tried to apply the message.
    pub attempts: u32,
    /// Why the message was not applied.
    pub reason: String,
    /// When the message became a dead letter.
    pub since: OffsetDateTime,
}

impl DeadLetter {
    /// Makes the dead letter for a message's body.
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
    /// The message is in the queue.
    Waiting,
    /// The message was applied.
    Applied,
    /// The message is a dead letter.
    Dead,
}

/// Messages that could not be applied.
#[async_trait]
pub trait DeadLetters: std::fmt::Debug + Send + Sync {
    /// Stores a dead letter. Replaces a dead letter with the same key.
    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError>;

    /// Returns at most `limit` dead letters, oldest first.
    async fn list(&self, limit: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// Returns the dead letter with this key.
    async fn find(&self, key: &str) -> Result<Option<DeadLetter>, StoreError>;

    /// Puts a dead letter's message back into the queue as a new message. Returns false if there is no such dead
    /// letter.
    async fn revive(&self, key: &str, now: OffsetDateTime) -> Result<bool, StoreError>;
}
