//! The queue of identity events: does it move, and has it given anything up?

use flexgate::domain::Action;
use flexgate::platform::Platform;
use flexgate::store::{Backlog, DeadLetter, Message, StoreError};
use time::{Duration, OffsetDateTime};

use super::finding::{Finding, explained};

/// An event is applied within seconds. One this old is waiting for something (the template's alarm
/// rings then as well).
const SLOW: Duration = Duration::minutes(10);
/// Nobody can call this slow any more: access that was taken away is still there.
const STUCK: Duration = Duration::hours(1);
/// More than a gateway applies in a minute or two.
const LONG: u64 = 1_000;
/// So many dead letters are looked at.
const LETTERS: u32 = 1_000;

const CONSUMER: &str = "is a gateway running with this store? fault in its flexgate::apply lines says why it waits";
const LOOK: &str = "see flexgate events list, mend the reason, then flexgate events retry --all";

/// What waits, and what has been given up.
pub(super) async fn check(platform: &Platform) -> Vec<Finding> {
    let now = platform.ambient.now();
    vec![
        waiting(platform.queue().backlog().await, now),
        given_up(platform.dead_letters().list(LETTERS).await.as_deref()),
    ]
}

fn waiting(backlog: Result<Backlog, StoreError>, now: OffsetDateTime) -> Finding {
    let Backlog { waiting, oldest } = match backlog {
        Ok(backlog) => backlog,
        Err(error) => return unreadable("queue", &error),
    };
    let age = oldest.map(|oldest| now - oldest);
    let text = match (waiting, age) {
        (0, _) => return Finding::ok("queue", "no event waits"),
        (_, Some(age)) => format!("{} to be applied, the oldest for {}", events(waiting, "waits", "wait"), span(age)),
        (_, None) => format!("{} to be applied", events(waiting, "waits", "wait")),
    };
    match age {
        Some(age) if age >= STUCK => Finding::failure("queue", text, CONSUMER),
        Some(age) if age >= SLOW => Finding::warning("queue", text, CONSUMER),
        _ if waiting >= LONG => Finding::warning("queue", text, CONSUMER),
        _ => Finding::ok("queue", text),
    }
}

/// A letter that takes access away is worse than one that gives it: somebody still has what they
/// should not.
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

fn takes_access_away(letter: &DeadLetter) -> bool {
    matches!(serde_json::from_str(&letter.body), Ok(Message::Event(event)) if event.action == Action::Deactivate)
}

fn unreadable(check: &'static str, error: &StoreError) -> Finding {
    let remedy = "it lies in the store (FLEXGATE_STORE), or with DynamoDB in the queue (FLEXGATE_QUEUE)";
    Finding::failure(check, explained(error), remedy)
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
