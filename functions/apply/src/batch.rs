//! Handles batches from an SQS FIFO queue. The response lists the failed messages (`ReportBatchItemFailures`). SQS
//! delivers the failed messages again and deletes the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use flexgate::base::outbound::Deadline;
use flexgate::store::DeadLetter;

use crate::app::{App, Handled};

/// With less time than this left, Flexgate starts no further message.
const WORTH_TRYING: Duration = Duration::from_secs(2);

/// Handles a batch and returns the failed messages. A message also counts as failed if no time is left before
/// `deadline`. After a failure, the rest of the same message group counts as failed, so the group's order stays the
/// same.
pub async fn handle(app: &App, event: SqsEvent, deadline: Deadline) -> SqsBatchResponse {
    let mut waiting: BTreeSet<String> = BTreeSet::new();
    let mut failures = Vec::new();
    for message in event.records {
        let group = message.attributes.get("MessageGroupId").cloned().unwrap_or_default();
        let too_late = deadline.remaining() < WORTH_TRYING;
        if too_late || waiting.contains(&group) || !done(app, &message, deadline).await {
            waiting.insert(group);
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.message_id.unwrap_or_default();
            failures.push(failure);
        }
    }
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures;
    response
}

/// Handles a message. Returns whether SQS may delete the message.
async fn done(app: &App, message: &SqsMessage, deadline: Deadline) -> bool {
    let body = message.body.as_deref().unwrap_or_default();
    let attempts = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1);
    match app.handle(body, attempts, deadline).await {
        Handled::Done => true,
        Handled::Again => false,
        Handled::Dead(reason) => {
            let letter = DeadLetter::of(body, attempts, reason, app.clock_rng.now());
            match app.dead_letters.bury(letter).await {
                Ok(()) => true,
                Err(error) => {
                    // SQS delivers the message again. After the last try, SQS moves the message to a dead-letter queue
                    // of SQS.
                    tracing::error!(target: "flexgate::apply", error = %error, "a dead letter could not be kept");
                    false
                }
            }
        }
    }
}
