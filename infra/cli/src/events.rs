//! `flexgate events`: lists, shows and retries dead letters (events and jobs that Flexgate could not apply). They are
//! in the store on this machine or on AWS.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use flexgate::base::clock_rng::ClockRng;
use flexgate::store::{DeadLetter, DeadLetters, EventQueue, Lane, Noted};
use time::format_description::well_known::Rfc3339;

use crate::activity;
use crate::audit::Trail;
use crate::named_store::{self, NamedStore};

/// The maximum number of dead letters that one command lists or retries.
const PAGE: u32 = 10_000;

/// Which store, and what to do.
#[derive(Debug, Args)]
pub struct Events {
    /// The store's file [default: `FLEXGATE_STORE`, or else the store of the simulated set-up]
    #[arg(long, global = true, value_name = "FILE")]
    store: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all dead letters, oldest first: key, time, tries, source (flexgate for a job), event, reason
    List,
    /// List event types that were ignored in the last seven days although they may change who has access
    Ignored,
    /// Show one dead letter in full, as JSON. The output contains personal data
    Show {
        /// The key of the dead letter, as `list` shows it
        #[arg(allow_hyphen_values = true)]
        key: String,
    },
    /// Put one or all dead letters back into the queue. A running gateway, or `apply` on AWS, then applies them
    #[command(group = clap::ArgGroup::new("which").args(["key", "all"]).required(true))]
    Retry {
        /// The key of the dead letter, as `list` shows it
        #[arg(allow_hyphen_values = true)]
        key: Option<String>,
        /// Retry all
        #[arg(long)]
        all: bool,
    },
}

/// Runs the command.
pub async fn run(options: &Events) -> Result<(), Box<dyn Error>> {
    if matches!(options.action, Action::Ignored) {
        return activity::list(options.store.as_deref(), Some(Noted::Ignored), false).await;
    }
    let store = open(options)?;
    let letters = store.letters.as_ref();
    match &options.action {
        Action::List | Action::Ignored => list(&store).await,
        Action::Show { key } => {
            let letter = letters.find(key).await?.ok_or("there is no dead letter of that key")?;
            say(&pretty(&letter))
        }
        Action::Retry { key: Some(key), .. } => retry(letters, std::slice::from_ref(key)).await,
        Action::Retry { key: None, .. } => {
            let keys: Vec<String> = letters.list(PAGE).await?.into_iter().map(|letter| letter.key).collect();
            retry(letters, &keys).await
        }
    }
}

/// The dead letters and the queue. `queue` is `None` on AWS, where the queue's length is unknown.
struct Store {
    letters: Box<dyn DeadLetters>,
    queue: Option<Arc<dyn EventQueue>>,
}

fn open(options: &Events) -> Result<Store, Box<dyn Error>> {
    Ok(match named_store::open(options.store.as_deref())? {
        NamedStore::Sqlite(store) => Store { queue: Some(Arc::new(store.clone())), letters: Box::new(store) },
        NamedStore::DynamoDb(store) => Store { letters: Box::new(store), queue: None },
    })
}

async fn list(store: &Store) -> Result<(), Box<dyn Error>> {
    let letters = store.letters.list(PAGE).await?;
    for letter in &letters {
        let DeadLetter { key, attempts, source, event_id, reason, .. } = letter;
        say(&format!("{key}  {}  {attempts:>3}  {source}  {event_id}  {reason}", since(letter)))?;
    }
    let dead = letters.len();
    let Some(queue) = &store.queue else { return say(&format!("{dead} could not be applied")) };
    let waiting = queue.backlog(Lane::Events).await?.waiting;
    let jobs = match queue.backlog(Lane::Bulk).await?.waiting {
        0 => String::new(),
        1 => ", and 1 job waits".to_owned(),
        jobs => format!(", and {jobs} jobs wait"),
    };
    say(&format!("{dead} could not be applied, {waiting} wait in the queue{jobs}"))
}

async fn retry(letters: &dyn DeadLetters, keys: &[String]) -> Result<(), Box<dyn Error>> {
    let now = ClockRng::system().now();
    let trail = Trail::open()?;
    for key in keys {
        if !letters.revive(key, now).await? {
            return Err("there is no dead letter of that key".into());
        }
        trail.allowed("retry_event", None, key);
    }
    say(&format!("{} back in the queue", keys.len()))
}

fn pretty(letter: &DeadLetter) -> String {
    let message: serde_json::Value = serde_json::from_str(&letter.body).unwrap_or_else(|_| letter.body.as_str().into());
    let shown = serde_json::json!({
        "key": letter.key, "source": letter.source, "event_id": letter.event_id, "attempts": letter.attempts,
        "reason": letter.reason, "since": since(letter), "message": message,
    });
    format!("{shown:#}")
}

fn since(letter: &DeadLetter) -> String {
    letter.since.format(&Rfc3339).unwrap_or_default()
}

/// Writes a line to standard output. Replaces control characters in it, because senders choose parts of the text.
fn say(text: &str) -> Result<(), Box<dyn Error>> {
    let plain: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    Ok(writeln!(std::io::stdout(), "{plain}")?)
}
