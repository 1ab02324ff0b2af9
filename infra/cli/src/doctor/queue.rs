//! Checks the queues of identity events and of jobs: do they make progress, and was anything given up?

use flexgate::base::error_chain::with_causes;
use flexgate::domain::Action;
use flexgate::platform::Platform;
use flexgate::store::{Backlog, DeadLetter, Lane, Message, StoreError};
use time::{Duration, OffsetDateTime};

use super::finding::Finding;

/// Events are normally applied within seconds. One this old is blocked by something (the template's alarm also fires at
/// this age).
const SLOW: Duration = Duration::minutes(10);
/// No normal delay takes this long: a person may still have access that should be gone.
const STUCK: Duration = Duration::hours(1);
/// More than a gateway applies in a minute or two.
const LONG: u64 = 1_000;
/// Jobs come by the thousand, for a SCIM group or a sweep's repairs.
const MANY_JOBS: u64 = 50_000;
/// At most this many dead letters are examined.
const LETTERS: u32 = 1_000;

const CONSUMER: &str = "is a gateway running with this store? fault in its flexgate::apply lines says why it waits";
const LOOK: &str = "see flexgate events list, mend the reason, then flexgate events retry --all";

/// Checks both queues and the dead letters.
pub(super) async fn check(platform: &Platform) -> Vec<Finding> {
    let now = platform.clock_rng.now();
    let queue = platform.queue();
    vec![
        waiting(&EVENTS, queue.backlog(Lane::Events).await, now),
        waiting(&JOBS, queue.backlog(Lane::Bulk).await, now),
        given_up(platform.dead_letters().list(LETTERS).await.as_deref()),
    ]
}

/// What waits in a queue, and from when on it has waited too long.
struct Patience {
    noun: &'static str,
    slow: Duration,
    stuck: Duration,
    long: u64,
}

const EVENTS: Patience = Patience { noun: "event", slow: SLOW, stuck: STUCK, long: LONG };
const JOBS: Patience = Patience { noun: "job", slow: Duration::hours(1), stuck: Duration::hours(12), long: MANY_JOBS };

fn waiting(patience: &Patience, backlog: Result<Backlog, StoreError>, now: OffsetDateTime) -> Finding {
    let Backlog { waiting, oldest } = match backlog {
        Ok(backlog) => backlog,
        Err(error) => return unreadable("queue", &error),
    };
    let noun = patience.noun;
    let age = oldest.map(|oldest| now - oldest);
    let wait = if waiting == 1 { format!("1 {noun} waits") } else { format!("{waiting} {noun}s wait") };
    let text = match (waiting, age) {
        (0, _) => return Finding::ok("queue", format!("no {noun} waits")),
        (_, Some(age)) => format!("{wait} to be applied, the oldest for {}", span(age)),
        (_, None) => format!("{wait} to be applied"),
    };
    match age {
        Some(age) if age >= patience.stuck => Finding::failure("queue", text, CONSUMER),
        Some(age) if age >= patience.slow => Finding::warning("queue", text, CONSUMER),
        _ if waiting >= patience.long => Finding::warning("queue", text, CONSUMER),
        _ => Finding::ok("queue", text),
    }
}

/// A dead letter that takes access away is worse than one that gives it: a person still has access that they should not
/// have.
fn given_up(letters: Result<&[DeadLetter], &StoreError>) -> Finding {
    let letters = match letters {
        Ok([]) => return Finding::ok("dead letters", "no event was given up"),
        Ok(letters) => letters,
        Err(error) => return unreadable("dead letters", error),
    };
    let count = letters.len() as u64;
    let text = format!("{} given up", events(count, "was", "were"));
    match letters.iter().filter(|letter| takes_access_away(letter)).count() as u64 {
        0 => Finding::warning("dead letters", text, LOOK),
        some => {
            let text = format!("{text}; {} access away that may still be there", events(some, "takes", "take"));
            Finding::failure("dead letters", text, LOOK)
        }
    }
}

/// A job doesn't say whether it gives or takes access, so assume the worse.
fn takes_access_away(letter: &DeadLetter) -> bool {
    match serde_json::from_str(&letter.body) {
        Ok(Message::Event(event)) => event.action == Action::Deactivate,
        Ok(Message::Reconcile { .. } | Message::FanOut { .. }) => true,
        Ok(Message::Unreadable { .. }) | Err(_) => false,
    }
}

fn unreadable(check: &'static str, error: &StoreError) -> Finding {
    let remedy =
        "it lies in the store (FLEXGATE_STORE), or with DynamoDB in the queues (FLEXGATE_QUEUE, FLEXGATE_BULK_QUEUE)";
    Finding::failure(check, with_causes(error), remedy)
}

fn events(count: u64, one: &str, several: &str) -> String {
    if count == 1 { format!("1 event {one}") } else { format!("{count} events {several}") }
}

fn span(age: Duration) -> String {
    match age.whole_seconds().max(0) {
        seconds @ ..=119 => format!("{seconds} s"),
        seconds @ ..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}
