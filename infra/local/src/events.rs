//! `flexgate events`: the identity events that could not be applied, from this machine's store.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use flexgate::ambient::Ambient;
use flexgate::settings::{Reader, StoreAt};
use flexgate::store::{DeadLetter, DeadLetters as _, EventStatus, Inbox, SqliteStore};
use time::format_description::well_known::Rfc3339;

use crate::audit::Trail;

/// How many letters are listed, or tried again, at once.
const PAGE: u32 = 10_000;

/// Which store, and what to do.
#[derive(Debug, Args)]
pub struct Events {
    /// The store's file; without it, `FLEXGATE_STORE`'s, or else that of the simulated set-up
    #[arg(long, global = true, value_name = "FILE")]
    store: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, oldest first: key, since when, tries, source, event, reason
    List,
    /// Show one in full, as JSON. It holds personal data
    Show {
        /// Its key, from the list
        key: String,
    },
    /// Put one back into the queue, or all of them: a running gateway applies them
    Retry {
        /// Its key, from the list
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        key: Option<String>,
        /// Every one of them
        #[arg(long)]
        all: bool,
    },
}

/// Runs the command.
pub async fn run(options: &Events) -> Result<(), Box<dyn Error>> {
    let path = store_path(options)?;
    if !path.exists() {
        return Err(format!("there is no store at {}: name one with --store", path.display()).into());
    }
    let store = SqliteStore::open(&path)?;
    match &options.action {
        Action::List => list(&store).await,
        Action::Show { key } => {
            let letter = store.find(key).await?.ok_or("there is no dead letter of that key")?;
            say(&pretty(&letter))
        }
        Action::Retry { key: Some(key), .. } => retry(&store, std::slice::from_ref(key)).await,
        Action::Retry { key: None, .. } => {
            let keys: Vec<String> = store.list(PAGE).await?.into_iter().map(|letter| letter.key).collect();
            retry(&store, &keys).await
        }
    }
}

fn store_path(options: &Events) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(path) = &options.store {
        return Ok(path.clone());
    }
    let mut reader = Reader::of_process();
    let simulated = StoreAt::Sqlite(".flexgate/flexgate.db".into());
    let store = reader.or("FLEXGATE_STORE", simulated);
    let StoreAt::Sqlite(path) = reader.finish(store)?;
    Ok(path)
}

async fn list(store: &SqliteStore) -> Result<(), Box<dyn Error>> {
    let letters = store.list(PAGE).await?;
    for letter in &letters {
        let DeadLetter { key, attempts, source, event_id, reason, .. } = letter;
        say(&format!("{key}  {}  {attempts:>3}  {source}  {event_id}  {reason}", since(letter)))?;
    }
    let waiting = Inbox::new(store.clone()).count(EventStatus::Waiting).await?;
    say(&format!("{} could not be applied, {waiting} wait in the queue", letters.len()))
}

async fn retry(store: &SqliteStore, keys: &[String]) -> Result<(), Box<dyn Error>> {
    let now = Ambient::system().now();
    let trail = Trail::open()?;
    for key in keys {
        if !store.revive(key, now).await? {
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

/// Writes a line. What is printed came from outside: nothing in it may move a terminal's cursor.
fn say(text: &str) -> Result<(), Box<dyn Error>> {
    let plain: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    Ok(writeln!(std::io::stdout(), "{plain}")?)
}
