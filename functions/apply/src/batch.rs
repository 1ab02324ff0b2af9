//! Handles batches from an SQS FIFO queue. The response lists the failed messages (`ReportBatchItemFailures`), and SQS
//! deletes the rest.
//!
//! By default, SQS delivers a failed message again only after the queue's visibility timeout, which is minutes long. So
//! Flexgate shortens this timeout for each failed message, to a pause that grows with the number of attempts. The local
//! queue uses the same pauses.

use std::collections::VecDeque;
use std::time::Duration;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::store::{DeadLetter, StoreError};
use flexgate::telemetry;
use futures_util::stream::{self, StreamExt as _};

use crate::app::{App, Handled};

/// Flexgate starts to handle another message only if at least this much time is left.
const WORTH_TRYING: Duration = Duration::from_secs(3);

/// The time limit for finding out from the store how many times a message has been attempted.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time reserved for the work after a failed attempt: counting the attempt in the store, and changing the
/// visibility timeout. If the function ran out of time, SQS would deliver the whole batch again, and only after the
/// queue's visibility timeout.
const RESERVED: Duration = Duration::from_secs(1);

/// How many message groups of a batch Flexgate handles at the same time. The number is small, because Twilio limits
/// concurrent requests per account, and other processes handle other batches at the same time.
const ABREAST: usize = 4;

/// The messages of one group, in the order in which they were sent.
type Group = VecDeque<SqsMessage>;

/// Handles a batch and returns the failed messages. Handles the messages within a group one after another, and several
/// groups at the same time.
///
/// If a message fails, this function also returns the later messages of its group, without attempting them, so that the
/// group stays in order. In addition, it returns the messages for which no time was left. The failed message becomes
/// visible in SQS after its pause, and all other returned messages become visible at once. SQS still delivers them in
/// order, because a message that is not visible yet blocks the later messages of its group.
/// <https://repost.aws/knowledge-center/sqs-fifo-messages-not-returned>
pub async fn handle(app: &App, event: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
    // If a message ends the process, SQS delivers the whole batch again, but only minutes later. By then, every message
    // that was in progress has used up one attempt. A message that was delivered before may have ended the process, and
    // may do so again. So handle the groups of such messages after all other groups, and one at a time.
    let (again, fresh): (Vec<_>, Vec<_>) =
        groups(event.records).into_iter().partition(|group| group.iter().any(|message| received(message) > 1));
    let mut response = SqsBatchResponse::default();
    let mut untried = Group::new();
    let fresh = stream::iter(fresh.into_iter().map(|group| one_group(app, group, deadline))).buffered(ABREAST);
    let again = stream::iter(again).then(|group| one_group(app, group, deadline));
    // Box the stream, because it is large.
    let mut left = Box::pin(fresh.chain(again));
    while let Some(Left { failed, late }) = left.next().await {
        response.batch_item_failures.extend(failed.iter().map(failure));
        untried.extend(late);
    }
    if let Some(first) = untried.pop_front() {
        in_time(deadline, redeliver(app, &first, &untried, Duration::ZERO)).await;
        response.batch_item_failures.extend(std::iter::once(&first).chain(&untried).map(failure));
    }
    response
}

/// Sorts messages into their groups. The groups are in the order of their first messages in the batch.
fn groups(messages: Vec<SqsMessage>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for message in messages {
        match groups.iter_mut().find(|those| those.front().is_some_and(|first| group(first) == group(&message))) {
            Some(those) => those.push_back(message),
            None => groups.push(Group::from([message])),
        }
    }
    groups
}

/// Messages of one group. SQS must deliver them again.
#[derive(Default)]
struct Left {
    /// A message that failed, and the later messages of its group. Flexgate has already told SQS when to deliver them.
    failed: Group,
    /// Messages for which no time was left.
    late: Group,
}

/// Handles the messages of a group one after another, until one fails.
async fn one_group(app: &App, mut waiting: Group, deadline: Deadline) -> Left {
    while let Some(message) = waiting.pop_front() {
        if deadline.remaining() < WORTH_TRYING {
            waiting.push_front(message);
            return Left { late: waiting, ..Left::default() };
        }
        let begun = tokio::time::timeout(PATIENCE, app.tries.begin(id(&message), received(&message))).await;
        let attempts = begun.unwrap_or_else(|_| app.tries.guess(received(&message)));
        if done(app, &message, attempts, deadline).await {
            continue;
        }
        telemetry::try_failed(age(app, &message));
        let recorded = async {
            let counted = app.tries.failed(id(&message), received(&message));
            tokio::join!(redeliver(app, &message, &waiting, app.pause(attempts)), counted);
        };
        in_time(deadline, recorded).await;
        waiting.push_front(message);
        return Left { failed: waiting, ..Left::default() };
    }
    Left::default()
}

fn failure(message: &SqsMessage) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    id(message).clone_into(&mut failure.item_identifier);
    failure
}

fn id(message: &SqsMessage) -> &str {
    message.message_id.as_deref().unwrap_or_default()
}

fn group(message: &SqsMessage) -> &str {
    message.attributes.get("MessageGroupId").map(String::as_str).unwrap_or_default()
}

/// Returns how many times SQS has delivered the message, including this time.
fn received(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Returns how long ago the message was sent.
fn age(app: &App, message: &SqsMessage) -> Duration {
    let sent = message.attributes.get("SentTimestamp").and_then(|millis| millis.parse::<i128>().ok());
    let age = sent.map(|sent| app.clock_rng.now().unix_timestamp_nanos() / 1_000_000 - sent);
    Duration::from_millis(age.and_then(|age| u64::try_from(age).ok()).unwrap_or_default())
}

/// Handles a message. Returns whether SQS may delete the message.
async fn done(app: &App, message: &SqsMessage, attempts: u32, deadline: Deadline) -> bool {
    let body = message.body.as_deref().unwrap_or_default();
    let time = Deadline::after(deadline.remaining().saturating_sub(RESERVED));
    match app.handle(body, attempts, time).await {
        Handled::Done => {
            in_time(deadline, app.tries.succeeded(id(message), received(message))).await;
            true
        }
        Handled::Again => false,
        Handled::Dead(reason) => {
            let letter = DeadLetter::of(body, attempts, reason, app.clock_rng.now());
            let buried = tokio::time::timeout(deadline.remaining(), app.dead_letters.bury(letter)).await;
            match buried.unwrap_or_else(|late| Err(StoreError::Unavailable(late.into()))) {
                Ok(()) => true,
                Err(error) => {
                    // SQS delivers the message again. After `maxReceiveCount` deliveries, SQS moves the message to its
                    // own dead-letter queue.
                    tracing::error!(target: "flexgate::apply", error = %error, "a dead letter could not be kept");
                    false
                }
            }
        }
    }
}

/// Makes SQS deliver `first` again after `pause`, and `rest` after `first`.
async fn redeliver(app: &App, first: &SqsMessage, rest: &Group, pause: Duration) {
    let Some(sqs) = &app.sqs else { return };
    let handle = |message: &SqsMessage| message.receipt_handle.clone().unwrap_or_default();
    let rest = rest.iter().map(|message| (handle(message), Duration::ZERO));
    let messages: Vec<_> = std::iter::once((handle(first), pause)).chain(rest).collect();
    let queue = first.event_source_arn.as_deref().unwrap_or_default();
    // Box the future, because it is large.
    if let Err(error) = Box::pin(sqs.redeliver(queue, &messages)).await {
        let fault = with_causes(&error);
        tracing::warn!(target: "flexgate::apply", fault, "failed messages come again only after the queue's visibility timeout");
    }
}

/// Runs `work`. At the deadline, stops it and logs a warning.
async fn in_time(deadline: Deadline, work: impl Future<Output = ()>) {
    if tokio::time::timeout(deadline.remaining(), work).await.is_err() {
        tracing::warn!(target: "flexgate::apply", "no time is left to record the outcome of a message");
    }
}
