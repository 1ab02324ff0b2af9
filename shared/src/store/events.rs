//! Identity events on their way to Flex: the queue, what has been applied, and dead letters.
//!
//! The queue is first in, first out for each subject, keeps a message before it says so, and takes the
//! same event once (SQS FIFO: group is [`Message::group`], deduplication is [`Message::key`]). It has two
//! lanes, which do not wait for each other.

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
    /// Keeps the messages, all or none of them, each in its lane. When this returns they survive anything but the
    /// loss of the store. One that the queue holds or has held lately is not taken again.
    async fn send(&self, messages: &[Message], now: OffsetDateTime) -> Result<(), StoreError>;

    /// What waits in a lane to be applied, including what somebody is at.
    async fn backlog(&self, lane: Lane) -> Result<Backlog, StoreError>;
}

/// The queue's receiving end, where this very machine is its consumer.
#[async_trait]
pub trait Inbox: std::fmt::Debug + Send + Sync {
    /// Notified when a message may have arrived. Messages from other processes are found by polling.
    fn arrivals(&self) -> Arc<Notify>;

    /// Takes at most `limit` messages of a lane, of different subjects, until `until`: who has not settled one by
    /// then has lost it to whoever takes it next. A subject's next message waits for the one before.
    async fn take(
        &self,
        lane: Lane,
        limit: u32,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<Taken>, StoreError>;

    /// Says what became of a message. Nothing happens if it was lost to somebody else meanwhile.
    async fn settle(&self, taken: &Taken, settled: Settled, now: OffsetDateTime) -> Result<(), StoreError>;

    /// How many messages stand at `status`, in both lanes.
    async fn count(&self, status: EventStatus) -> Result<u64, StoreError>;

    /// Forgets what was applied long ago; how much that was.
    async fn sweep(&self, now: OffsetDateTime) -> Result<u64, StoreError>;
}

/// A message taken from the queue, for a while.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Names it in the queue.
    pub seq: i64,
    /// The message, JSON.
    pub body: String,
    /// How often it has been taken, this time included.
    pub attempts: u32,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is applied.
    Applied,
    /// It is to be tried again, not before that moment.
    Later(OffsetDateTime),
    /// It cannot be applied, for that reason.
    Dead(String),
}

/// What waits in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many messages.
    pub waiting: u64,
    /// Since when the oldest waits; `None` where none does, or the queue does not tell (SQS).
    pub oldest: Option<OffsetDateTime>,
}

/// What the version before the people ledger had applied to whom. It is read where an event is about somebody of whom
/// the ledger does not know yet.
#[async_trait]
pub trait EventHistory: std::fmt::Debug + Send + Sync {
    /// What had been applied to the subject.
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError>;
}

/// A message that could not be applied, kept with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it: [`Message::key`], or a digest of what cannot be read as a message.
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
    /// Since when it is here.
    pub since: OffsetDateTime,
}

impl DeadLetter {
    /// The letter for a message's body.
    #[must_use]
    pub fn of(body: &str, attempts: u32, reason: impl Into<String>, since: OffsetDateTime) -> Self {
        let (key, source, event_id) = match serde_json::from_str::<Message>(body) {
            Ok(message) => (message.key(), message.source().to_owned(), message.id().into_owned()),
            Err(_) => (fingerprint(&["body", body]), String::new(), String::new()),
        };
        Self { key, source, event_id, body: body.to_owned(), attempts, reason: reason.into(), since }
    }
}

/// Where an event stands.
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
    /// Keeps a letter; one of that key is replaced.
    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError>;

    /// The letters, oldest first, at most `limit`.
    async fn list(&self, limit: u32) -> Result<Vec<DeadLetter>, StoreError>;

    /// The letter of that key.
    async fn find(&self, key: &str) -> Result<Option<DeadLetter>, StoreError>;

    /// Puts the letter back into the queue, to be tried from the start. False if there is none.
    async fn revive(&self, key: &str, now: OffsetDateTime) -> Result<bool, StoreError>;
}
