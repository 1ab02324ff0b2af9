//! Batches of an SQS FIFO queue. What fails is named in the answer and comes again; the rest is done
//! with (`ReportBatchItemFailures`).

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use flexgate::base::outbound::Deadline;
use flexgate::store::DeadLetter;

use crate::app::{App, Handled};

/// What a message needs to be begun with.
const WORTH_TRYING: Duration = Duration::from_secs(2);

/// Handles a batch before `deadline`; what there is no time for comes again. After a failure the rest of
/// its group waits as well, or order would be lost.
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

/// Whether the message is done with: applied, or kept as a dead letter with its reason.
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
                    // The queue's own dead-letter queue is the last resort.
                    tracing::error!(target: "flexgate::apply", error = %error, "a dead letter could not be kept");
                    false
                }
            }
        }
    }
}
