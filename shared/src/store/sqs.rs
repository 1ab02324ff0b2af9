//! The queue on AWS, which consists of one SQS FIFO queue for each lane.
//!
//! SQS accepts ten messages at a time. If SQS fails between two batches, the sender can safely send all messages again.
//! SQS ignores those that it already has, because a message's key is its deduplication id.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName, SendMessageBatchRequestEntry};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use super::{Backlog, DeadLetter, EventQueue, Lane, Message, Queues, StoreError, fingerprint};
use crate::lambda::Aws;

/// The maximum number of messages that SQS accepts in one request.
const BATCH: usize = 10;

/// The SQS queues of both lanes. The client is built on first use.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    aws: Aws,
    urls: Arc<Queues>,
    client: Arc<OnceCell<Client>>,
}

impl SqsQueue {
    /// Returns the queue whose lanes have these URLs. Reads the credentials, the region and the endpoint from the
    /// environment. Sending to a lane without a URL fails.
    #[must_use]
    pub fn new(urls: Queues, aws: Aws) -> Self {
        Self { aws, urls: Arc::new(urls), client: Arc::default() }
    }

    /// Puts a dead letter back into the queue. The message gets a new deduplication id, because with the old one, SQS
    /// would drop the message as a duplicate.
    pub(super) async fn revive(&self, letter: &DeadLetter, now: OffsetDateTime) -> Result<(), StoreError> {
        let (group, lane) = Message::place(&letter.body);
        let again = fingerprint(&["revived", &letter.key, &now.unix_timestamp_nanos().to_string()]);
        let (client, url) = self.open(lane).await?;
        let request = client.send_message().queue_url(url).message_body(&letter.body);
        let request = request.message_group_id(group).message_deduplication_id(again);
        request.send().await.map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok(())
    }

    /// Makes SQS deliver messages from one queue again. `messages` contains each message's receipt handle and the pause
    /// before its delivery. `arn` is the queue's ARN from the Lambda event that contained the messages.
    pub async fn redeliver(&self, arn: &str, messages: &[(String, Duration)]) -> Result<(), StoreError> {
        let is_at = |lane: &Lane| {
            let name = arn.rsplit(':').next().filter(|name| !name.is_empty());
            let url = self.url(*lane).and_then(|url| url.rsplit('/').next());
            name.is_some() && name == url
        };
        let lane = Lane::ALL.into_iter().find(is_at);
        let lane = lane.ok_or_else(|| StoreError::Unavailable("neither setting names this queue".into()))?;
        let (client, url) = self.open(lane).await?;
        for some in messages.chunks(BATCH) {
            let mut request = client.change_message_visibility_batch().queue_url(url);
            for (index, (handle, pause)) in some.iter().enumerate() {
                let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(handle)
                    .visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX))
                    .build()
                    .map_err(|error| StoreError::Unavailable(error.into()))?;
                request = request.entries(entry);
            }
            let changed = request.send().await.map_err(|error| StoreError::Unavailable(error.into()))?;
            if let Some(failed) = changed.failed.first() {
                return Err(StoreError::Unavailable(format!("SQS refused a message: {}", failed.code).into()));
            }
        }
        Ok(())
    }

    fn url(&self, lane: Lane) -> Option<&str> {
        match lane {
            Lane::Events => self.urls.events.as_deref(),
            Lane::Bulk => self.urls.bulk.as_deref(),
        }
    }

    async fn open(&self, lane: Lane) -> Result<(&Client, &str), StoreError> {
        let missing = match lane {
            Lane::Events => "FLEXGATE_QUEUE is not set",
            Lane::Bulk => "FLEXGATE_BULK_QUEUE is not set",
        };
        let url = self.url(lane).ok_or_else(|| StoreError::Unavailable(missing.into()))?;
        let client = self.client.get_or_init(|| async { Client::new(self.aws.config().await) }).await;
        Ok((client, url))
    }

    async fn send_to(&self, lane: Lane, messages: &[&Message]) -> Result<(), StoreError> {
        let (client, url) = self.open(lane).await?;
        for some in messages.chunks(BATCH) {
            let mut request = client.send_message_batch().queue_url(url);
            for (index, message) in some.iter().enumerate() {
                let body = serde_json::to_string(message).map_err(|error| StoreError::Corrupt(error.into()))?;
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body)
                    .message_group_id(message.group())
                    .message_deduplication_id(message.key())
                    .build()
                    .map_err(|error| StoreError::Unavailable(error.into()))?;
                request = request.entries(entry);
            }
            let sent = request.send().await.map_err(|error| StoreError::Unavailable(error.into()))?;
            if let Some(failed) = sent.failed.first() {
                return Err(StoreError::Unavailable(format!("SQS refused a message: {}", failed.code).into()));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl EventQueue for SqsQueue {
    /// Returns the approximate number of messages, without the arrival time of the oldest message. Only SQS's metrics
    /// report the age of that message.
    async fn backlog(&self, lane: Lane) -> Result<Backlog, StoreError> {
        let (client, url) = self.open(lane).await?;
        let counted = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let request = client.get_queue_attributes().queue_url(url).set_attribute_names(Some(counted.to_vec()));
        let answer = request.send().await.map_err(|error| StoreError::Unavailable(error.into()))?;
        let attributes = answer.attributes.unwrap_or_default();
        let waiting = counted.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok()).sum();
        Ok(Backlog { waiting, oldest: None })
    }

    async fn send(&self, messages: &[Message], _now: OffsetDateTime) -> Result<(), StoreError> {
        for lane in Lane::ALL {
            let of_lane: Vec<_> = messages.iter().filter(|message| message.lane() == lane).collect();
            if !of_lane.is_empty() {
                self.send_to(lane, &of_lane).await?;
            }
        }
        Ok(())
    }
}
