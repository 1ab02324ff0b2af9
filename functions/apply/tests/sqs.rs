//! Tests the function with a queue in an SQS emulator, which `tests/run aws` starts. The test does what Lambda does: it
//! receives batches, invokes the function, and deletes the messages that did not fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[expect(dead_code, reason = "only the store's own suites use all of it")]
#[path = "../../../shared/tests/common/dynamodb.rs"]
mod dynamodb;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use flexgate::base::outbound::{Deadline, http_client};
use flexgate::platform::Platform;
use flexgate_apply::{App, Settings, batch};
use flexgate_test_support::{Log, World, patient_aws};
use serde_json::{Value, json};

/// How long a test waits. This is far less than the queue's visibility timeout of six minutes.
const PATIENCE: Duration = Duration::from_secs(90);

/// The apply function with a simulated Twilio, behind a FIFO queue.
struct Queue {
    world: World,
    app: Arc<App>,
    platform: Platform,
    sqs: Client,
    url: String,
    arn: String,
    log: Log,
}

/// The number of the test's next queue.
static QUEUES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

async fn new_queue(sqs: &Client) -> (String, String) {
    let number = QUEUES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let made = sqs
        .create_queue()
        .queue_name(format!("apply-{}-{number}.fifo", std::process::id()))
        .attributes(QueueAttributeName::FifoQueue, "true")
        .attributes(QueueAttributeName::VisibilityTimeout, "360");
    let url = made.send().await.unwrap().queue_url.unwrap();
    let asked = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
    let attributes = asked.send().await.unwrap().attributes.unwrap();
    (url, attributes[&QueueAttributeName::QueueArn].clone())
}

impl Queue {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap();
        let aws = patient_aws(http_client(&[]).unwrap());
        let sqs = Client::new(aws.config().await);
        let (url, arn) = new_queue(&sqs).await;
        let (table, _, _) = dynamodb::new_table(&endpoint).await;
        let world = World::on_one_clock().await;
        let (store, queue) = (format!("dynamodb:{table}"), format!("sqs:{url}"));
        let own = [("FLEXGATE_STORE", &*store), ("FLEXGATE_QUEUE", &*queue)];
        let mut reader = world.reader().with(own).with(variables.iter().copied());
        let settings = Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let platform = world.platform(&settings.common);
        let app = App::new(&settings, &platform);
        Self { world, app, platform, sqs, url, arn, log: Log::start() }
    }

    /// Sends the event number `id` about `who`.
    async fn send(&self, id: u32, who: &str, action: &str) {
        let event = json!({
            "kind": "event", "id": format!("e{id}"), "source": "hr", "occurred_at": format!("2026-01-01T10:00:{id:02}Z"),
            "subject": { "id": who }, "action": action,
            "profile": { "username": who, "email": format!("{who}@example.com"), "full_name": format!("Version {id}") },
        });
        self.send_body(&id.to_string(), who, &event).await;
    }

    async fn send_body(&self, id: &str, group: &str, body: &Value) {
        let message = self.sqs.send_message().queue_url(&self.url).message_body(body.to_string());
        message.message_group_id(group).message_deduplication_id(id).send().await.unwrap();
    }

    /// Receives a batch, as Lambda does. `hidden` overrides the queue's visibility timeout, in seconds. If the
    /// function's process ends, the batch stays invisible for that long.
    async fn receive(&self, hidden: Option<i32>) -> SqsEvent {
        let request = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        let answer = request.set_visibility_timeout(hidden).send().await.unwrap();
        let mut event = SqsEvent::default();
        for received in answer.messages.unwrap_or_default() {
            let mut message = SqsMessage::default();
            let attributes = received.attributes.unwrap_or_default().into_iter();
            message.attributes = attributes.map(|(name, value)| (name.as_str().to_owned(), value)).collect();
            message.message_id = received.message_id;
            message.receipt_handle = received.receipt_handle;
            message.body = received.body;
            message.event_source_arn = Some(self.arn.clone());
            event.records.push(message);
        }
        event
    }

    /// Invokes the function with a batch, and deletes the messages that did not fail. Returns the number of failures.
    async fn invoke(&self, event: SqsEvent) -> usize {
        let records = event.records.clone();
        let failures = batch::handle(&self.app, event, Deadline::after(Duration::from_secs(60))).await;
        let failed: Vec<_> = failures.batch_item_failures.iter().map(|one| one.item_identifier.as_str()).collect();
        for record in records.iter().filter(|one| !failed.contains(&one.message_id.as_deref().unwrap())) {
            let deleted = self.sqs.delete_message().queue_url(&self.url);
            deleted.receipt_handle(record.receipt_handle.as_deref().unwrap()).send().await.unwrap();
        }
        failed.len()
    }

    /// The number of messages in the queue, including those in flight.
    async fn left(&self) -> u64 {
        self.platform.queue().backlog(flexgate::store::Lane::Events).await.unwrap().waiting
    }

    /// Waits until a request has reached Twilio.
    async fn called(&self) {
        while self.world.calls("flex-api").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Delivers batches until the queue is empty.
    async fn drain(&self) {
        self.drain_with(None, async |event| {
            self.invoke(event).await;
        })
        .await;
    }

    /// Receives batches until the queue is empty, and passes each batch to `deliver`.
    async fn drain_with(&self, hidden: Option<i32>, mut deliver: impl AsyncFnMut(SqsEvent)) {
        let began = Instant::now();
        while self.left().await > 0 {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {:?}", self.tries());
            let event = self.receive(hidden).await;
            if event.records.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            } else {
                deliver(event).await;
            }
        }
    }

    /// Makes Twilio fail until further notice.
    async fn outage(&self) {
        self.world.fault(&json!({ "service": "flex-api", "kind": "status", "status": 503, "times": "always" })).await;
    }

    /// Returns the attempts so far. Each has the event's id, the number of the attempt, and its result: `ok`, `again`
    /// or `dead`.
    fn tries(&self) -> Vec<(String, u64, &'static str)> {
        let text = self.log.text();
        // The log also contains many long lines of the AWS SDK. Skip them.
        let lines = text.lines().filter(|line| line.contains(r#""target":"flexgate::apply""#));
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_apply = lines.filter(|line| line["event_id"].is_string());
        let line = |line: Value| {
            let ended = match line["level"].as_str() {
                Some("WARN") => "again",
                Some("ERROR") => "dead",
                _ => "ok",
            };
            (line["event_id"].as_str().unwrap().to_owned(), line["attempts"].as_u64().unwrap(), ended)
        };
        of_apply.map(line).collect()
    }
}

fn tried(expected: &[(&str, u64, &'static str)]) -> Vec<(String, u64, &'static str)> {
    expected.iter().map(|(event, number, ended)| ((*event).to_owned(), *number, *ended)).collect()
}

#[tokio::test]
async fn a_deactivation_that_met_a_503_is_retried_in_seconds_and_later_events_follow_in_order() {
    let queue = Queue::start(&[]).await;
    queue.send(1, "ada", "upsert").await;
    queue.drain().await;
    // Flexgate sends a request to Twilio up to three times before an attempt fails. The fault answers three requests
    // with 503, so the first attempt fails and the second succeeds.
    let sid = queue.world.twilio_user("ada").await.unwrap()["flex_user_sid"].clone();
    let fault = json!({ "service": "flex-api", "path_contains": sid, "kind": "status", "status": 503, "times": 3 });
    queue.world.fault(&fault).await;
    queue.send(2, "ada", "deactivate").await;
    queue.send(3, "grace", "upsert").await;
    queue.send(4, "ada", "upsert").await;
    queue.send(5, "ada", "deactivate").await;
    queue.drain().await;
    // Grace's event is in the same batch, and does not wait for ada's.
    let (grace, ada): (Vec<_>, Vec<_>) = queue.tries().into_iter().partition(|(event, ..)| event == "e3");
    assert_eq!(grace, tried(&[("e3", 1, "ok")]));
    let expected = [("e1", 1, "ok"), ("e2", 1, "again"), ("e2", 2, "ok"), ("e4", 1, "ok"), ("e5", 1, "ok")];
    assert_eq!(ada, tried(&expected));
    assert_eq!(queue.world.twilio_user("ada").await.unwrap()["deactivated"], true);
}

#[tokio::test]
async fn a_message_that_waits_for_its_group_uses_up_no_try() {
    let queue = Queue::start(&[("FLEXGATE_APPLY_TRIES", "3")]).await;
    queue.outage().await;
    for id in 1..=4 {
        queue.send(id, "ada", "upsert").await;
    }
    queue.drain().await;
    // The later messages came in the same batches as the earlier ones, and had to wait for them. Flexgate does not
    // count a delivery without an attempt, so every message still gets three attempts.
    let of = |event| [(event, 1, "again"), (event, 2, "again"), (event, 3, "dead")];
    assert_eq!(queue.tries(), tried(&[of("e1"), of("e2"), of("e3"), of("e4")].concat()));
    let letters = queue.platform.dead_letters().list(9).await.unwrap();
    assert!(letters.len() == 4 && letters.iter().all(|letter| letter.attempts == 3), "{letters:?}");
}

#[tokio::test]
async fn a_message_whose_pause_cannot_be_set_still_comes_again() {
    let queue = Queue::start(&[("FLEXGATE_QUEUE", "sqs:http://127.0.0.1:1/123456789012/other.fifo")]).await;
    queue.outage().await;
    queue.send(1, "ada", "upsert").await;
    assert_eq!(queue.invoke(queue.receive(None).await).await, 1, "SQS keeps it");
    assert!(queue.log.text().contains("come again only after the queue's visibility timeout"));
}

#[tokio::test]
async fn a_message_that_ends_the_process_becomes_a_dead_letter_and_its_batch_does_not() {
    let queue = Queue::start(&[("FLEXGATE_APPLY_TRIES", "2")]).await;
    // Twilio never answers. So every invocation is still busy with ada's message when the test ends the invocation.
    let stuck = json!({ "service": "flex-api", "kind": "delay", "delay_ms": 600_000, "times": "always" });
    queue.world.fault(&stuck).await;
    let note = json!({ "kind": "note", "noted": "ignored", "source": "hr", "route": "x", "code": "ignored",
                       "reason": "x", "external_id": null, "times": 1, "at": "2026-01-01T10:00:00Z" });
    queue.send_body("note", "note", &note).await;
    queue.send(1, "ada", "upsert").await;
    let mut ended = 0;
    queue
        .drain_with(Some(1), async |event| {
            queue.world.forget_calls().await;
            tokio::select! {
                failed = queue.invoke(event) => assert_eq!(failed, 0),
                () = queue.called() => ended += 1,
            }
            // The ended process still holds a lease on the person. Wait until the lease expires.
            queue.world.advance(time::Duration::minutes(5)).await;
        })
        .await;
    // The limit is two attempts, but the process ended in three attempts. Flexgate counts a message's first attempt
    // only after the attempt has failed. Here the process ended before that, so Flexgate did not count the first
    // attempt.
    assert_eq!(ended, 3);
    let letters = queue.platform.dead_letters().list(9).await.unwrap();
    let letters: Vec<_> = letters.iter().map(|letter| letter.event_id.as_str()).collect();
    assert_eq!(letters, ["e1"], "the note succeeded each time");
}
