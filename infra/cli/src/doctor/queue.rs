//! Checks the queue of events, the queue of jobs, the dead letters, and the ignored events.

use flexgate::base::error_chain::with_causes;
use flexgate::domain::Action;
use flexgate::platform::Platform;
use flexgate::store::{Backlog, DeadLetter, Lane, Message, Note, Noted, StoreError};
use time::{Duration, OffsetDateTime};

use super::finding::Finding;

/// The age of a waiting event at which the doctor warns. Normally, an event waits for seconds. The template's alarm
/// uses the same age.
const SLOW: Duration = Duration::minutes(10);
/// The age of a waiting event at which the doctor reports a failure. Until the event is applied, somebody may keep
/// access that the event takes away.
const STUCK: Duration = Duration::hours(1);
/// The number of waiting events at which the doctor warns. A gateway needs minutes to apply so many events.
const LONG: u64 = 1_000;
/// The number of waiting jobs at which the doctor warns. Thousands are normal, because a sweep queues a job for each
/// person whose Flex user must be repaired.
const MANY_JOBS: u64 = 50_000;
/// The maximum number of dead letters that the doctor reads.
const LETTERS: u32 = 1_000;

const CONSUMER: &str = "is a gateway running with this store? fault in its flexgate::apply lines says why it waits";
const LOOK: &str = "see flexgate events list, mend the reason, then flexgate events retry --all";

/// Checks the queue of events, the queue of jobs, the dead letters, and the ignored events.
pub(super) async fn check(platform: &Platform) -> Vec<Finding> {
    let now = platform.clock_rng.now();
    let queue = platform.queue();
    vec![
        waiting(&EVENTS, queue.backlog(Lane::Events).await, now),
        waiting(&JOBS, queue.backlog(Lane::Bulk).await, now),
        given_up(platform.dead_letters().list(LETTERS).await.as_deref()),
        ignored(platform.notes().notes(now).await.as_deref()),
    ]
}

/// Reports ignored events that may change who has access. Also reports ignored notices in which a source says that it
/// will soon stop sending events.
fn ignored(notes: Result<&[Note], &StoreError>) -> Finding {
    const NAME: &str = "ignored events";
    let notes = match notes {
        Ok(notes) => notes,
        Err(error) => return unreadable(NAME, error),
    };
    let mut ignored = notes.iter().filter(|note| note.noted == Noted::Ignored);
    let Some(latest) = ignored.next() else { return Finding::ok(NAME, "no event that matters was ignored") };
    let others = match ignored.count() {
        0 => String::new(),
        others => format!(", and {others} more"),
    };
    let text = format!("{} of {} in the last 7 days{others}: {}", latest.route, latest.source, latest.reason);
    Finding::warning(NAME, text, "see flexgate events ignored")
}

/// The limits of a queue. The doctor warns, or reports a failure, if the oldest message has waited too long. It also
/// warns if too many messages wait.
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

/// Reports the dead letters: the events and jobs that Flexgate could not apply. If one of them takes access away, the
/// result is a failure, because a person may still have that access. Otherwise, the result is a warning.
fn given_up(letters: Result<&[DeadLetter], &StoreError>) -> Finding {
    let letters = match letters {
        Ok([]) => return Finding::ok("dead letters", "there are none"),
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

/// Whether the message takes access away. A job does not say what it will change, so every job counts as taking access
/// away.
fn takes_access_away(letter: &DeadLetter) -> bool {
    match serde_json::from_str(&letter.body) {
        Ok(Message::Event(event) | Message::Consequence { event, .. }) => {
            event.action == Action::Deactivate || event.look_up
        }
        Ok(Message::Signal { event, .. }) => event.action != Action::Restore,
        Ok(Message::Reconcile { .. } | Message::FanOut { .. } | Message::Ended { .. }) => true,
        Ok(Message::Unreadable { .. } | Message::Note(_)) | Err(_) => false,
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
