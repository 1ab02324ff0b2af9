//! Identity events on their way to Flex: the queue, what has been applied, and dead letters.
//!
//! The queue is first in, first out for each subject. It stores a message before it acknowledges it, and accepts the
//! same event only once (on SQS FIFO, [`Message::group`] is the message group id and [`Message::key`] the deduplication
//! id). It has two lanes, which do not wait for each other.

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
    /// Queues the messages, each in its lane. Once this returns, they survive anything but the loss of the store. After
    /// an error, a local store has queued none of them, while SQS, which takes ten at a time, may have queued some: send
    /// all of them again. The queue ignores a message that it holds or held recently.
    async fn send(&self, messages: &[Message], now: OffsetDateTime) -> Result<(), StoreError>;

    /// Returns what waits in a lane, including messages that a consumer has taken but not settled.
    async fn backlog(&self, lane: Lane) -> Result<Backlog, StoreError>;
}

/// The queue's receiving end, where this machine itself is the consumer.
#[async_trait]
pub trait Inbox: std::fmt::Debug + Send + Sync {
    /// Notified when a message may have arrived. Messages from other processes are found by polling.
    fn arrivals(&self) -> Arc<Notify>;

    /// Takes at most `limit` messages of a lane, of different subjects, and leases them until `until`. A message that
    /// is not settled by then goes to the next consumer that takes it. A subject's next message waits for the previous
    /// one.
    async fn take(
        &self,
        lane: Lane,
        limit: u32,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<Taken>, StoreError>;

    /// Records the outcome of a message. Does nothing if another consumer has taken the message in between.
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
    /// How often it has been taken, this time included.
    pub attempts: u32,
}

/// The outcome of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was applied.
    Applied,
    /// It must be retried, not before that time.
    Later(OffsetDateTime),
    /// It cannot be applied. The string is the reason.
    Dead(String),
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many messages.
    pub waiting: u64,
    /// Since when the oldest one has been waiting; `None` if no message waits, or if the queue does not report the time
    /// (SQS).
    pub oldest: Option<OffsetDateTime>,
}

/// What was applied to each subject before the people ledger existed. It is read when an event is about somebody who is
/// not in the ledger yet.
#[async_trait]
pub trait EventHistory: std::fmt::Debug + Send + Sync {
    /// Returns what had been applied to the subject.
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError>;
}

/// A message that could not be applied, kept with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Identifies the letter: [`Message::key`], or a digest of a body that cannot be read as a message.
    pub key: String,
    /// The source, if it can be read; `flexgate` for a job.
    pub source: String,
    /// The event's id at the source, or what the job was to do, if it can be read.
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
    /// Stores a letter, and replaces one with the same key.
    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError>;

    /// Returns at most `limit` letters, oldest first.
    async fn list(&self, limit: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// Returns the letter with that key.
    async fn find(&self, key: &str) -> Result<Option<DeadLetter>, StoreError>;

    /// Puts the letter back into the queue with its attempts reset. Returns false if there is no such letter.
    async fn revive(&self, key: &str, now: OffsetDateTime) -> Result<bool, StoreError>;
}
