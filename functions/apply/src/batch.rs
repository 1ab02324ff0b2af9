//! Handles batches of an SQS FIFO queue. The response (`ReportBatchItemFailures`) lists the messages that failed. SQS
//! delivers these messages again, and deletes all others.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use flexgate::base::outbound::Deadline;
use flexgate::store::DeadLetter;

use crate::app::{App, Handled};

/// Flexgate starts another message only if at least this much time is left before the function's deadline.
const WORTH_TRYING: Duration = Duration::from_secs(2);

/// Handles a batch before `deadline`. Messages for which no time is left count as failed, so SQS delivers them again.
/// After a failed message, all later messages of the same message group count as failed too. This preserves their
/// order.
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

/// Returns whether SQS may delete the message: it was applied, or stored as a dead letter with its reason.
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
                    // Report the message as failed. If it keeps failing, SQS finally moves it to the queue's
                    // dead-letter queue.
                    tracing::error!(target: "flexgate::apply", error = %error, "a dead letter could not be kept");
                    false
                }
            }
        }
    }
}
