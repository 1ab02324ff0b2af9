//! `flexgate activity`: lists what Flexgate refused or ignored in the last seven days.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use flexgate::base::clock_rng::ClockRng;
use flexgate::store::{Note, Noted, Notes};
use time::format_description::well_known::Rfc3339;

use crate::named_store::{self, NamedStore};

/// Which notes to list.
#[derive(Debug, Args)]
#[command(
    after_help = "Lists: when it happened last, how often on that day, source, route or event type, code, the client's id of \
    the resource, and the reason that the client was told.\n\n\
    Examples:\n  \
    flexgate activity --refused              what Okta or Entra is told, and why\n  \
    flexgate activity --refused --json | jq '.[] | select(.source == \"scim\")'"
)]
pub struct Activity {
    /// List only requests and deliveries that were refused
    #[arg(long, conflicts_with = "ignored")]
    refused: bool,
    /// List only events that were ignored although they may change who has access
    #[arg(long)]
    ignored: bool,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
    /// The store's file [default: `FLEXGATE_STORE`, or else the store of the simulated set-up]
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(options: &Activity) -> Result<(), Box<dyn Error>> {
    let only = match (options.refused, options.ignored) {
        (true, _) => Some(Noted::Refused),
        (_, true) => Some(Noted::Ignored),
        _ => None,
    };
    list(options.store.as_deref(), only, options.json).await
}

/// Lists the notes about what Flexgate refused and what it ignored. With `only`, lists only the notes of that kind.
pub async fn list(store: Option<&Path>, only: Option<Noted>, json: bool) -> Result<(), Box<dyn Error>> {
    let mut notes = open(store)?.notes(ClockRng::system().now()).await?;
    notes.retain(|note| only.is_none_or(|only| note.noted == only));
    let mut out = std::io::stdout();
    if json {
        return Ok(writeln!(out, "{:#}", serde_json::to_value(&notes)?)?);
    }
    for note in &notes {
        let Note { source, route, code, reason, times, external_id, .. } = note;
        let at = note.at.format(&Rfc3339)?;
        let about = external_id.as_deref().unwrap_or("-");
        let line = format!("{at}  {times:>4}  {source}  {route}  {code}  {about}  {reason}");
        // Replace control characters, because they could manipulate the terminal. Senders of requests choose parts of
        // each line.
        let plain: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        writeln!(out, "{plain}")?;
    }
    let what = match only {
        Some(Noted::Refused) => "refused",
        Some(Noted::Ignored) => "ignored",
        None => "refused or ignored",
    };
    Ok(writeln!(out, "{} different things were {what} in the last 7 days", notes.len())?)
}

fn open(store: Option<&Path>) -> Result<Arc<dyn Notes>, Box<dyn Error>> {
    Ok(match named_store::open(store)? {
        NamedStore::Sqlite(store) => Arc::new(store),
        NamedStore::DynamoDb(store) => Arc::new(store),
    })
}
