//! `flexgate users import`: provisions every row of a file once.
//!
//! The import records each finished row in the journal (a file), and never sends a recorded row again. If the process
//! is killed after it sent a row and before it recorded the row, the next import finds that Flex already has this user,
//! and sends nothing.

mod attempts;
mod compare;
mod dry_run;
mod header;
mod journal;
mod pace;
mod progress;
mod rows;
mod text;

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId};
use flexgate::twilio::Flex;
use flexgate::users::ledger::{Ledger, News, Outcome, Report};

use super::cells::{self, COLUMNS};
use super::outcome::{became, blocked};
use crate::operator::{Operator, deadline};
use crate::terminal::{remark, say};
use attempts::{Attempt, each, patiently};
use compare::{is_in_flex, other_spelling};
use journal::Journal;
use pace::Pace;
use progress::Progress;
use rows::Row;

/// What to import, and how.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is CSV as a spreadsheet program saves it: in UTF-8 or UTF-16, with the delimiter , ;\n\
    or tab. It has the columns username,email,full_name,roles in any order. Separate roles with\n\
    semicolons. The whole file is checked before anything is sent. A column named error, as in the\n\
    file of failed rows, is ignored, so you can correct that file and import it.\n\n  \
    username,email,full_name,roles\n  \
    ada,ada@example.com,Ada Lovelace,agent;supervisor\n\n\
    If the import is stopped or killed, the same command continues it. Exits 1 if a row failed,\nor would fail.\n\n\
    Examples:\n  \
    flexgate users import people.csv --dry-run\n  \
    flexgate users import people.csv --dry-run --json | grep '\"result\":\"refused\"'\n  \
    flexgate users import people.csv\n  \
    flexgate users import people.csv --concurrency 4 --state /var/lib/flexgate/people.journal"
)]
pub struct Import {
    /// The CSV file
    file: PathBuf,
    /// Show what would change, by row and field; send and record nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run, print one JSON document per row
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// The most rows that are sent at once; fewer while Twilio limits the rate
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// The file in which finished rows are recorded [default: FILE.journal]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The file to which failed rows are written [default: FILE.failed.csv]
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
}

/// How a row was finished.
enum Finished {
    Stated(Box<Report>),
    /// The import only compared the row with Flex, and Flex already has exactly this user.
    AsInFlex,
}

#[derive(Default)]
struct Counts {
    created: usize,
    updated: usize,
    unchanged: usize,
    failed: usize,
}

/// Imports the file.
pub async fn run(operator: &Operator, options: &Import) -> Result<ExitCode, Box<dyn Error>> {
    let rows = rows::read(&options.file, &operator.policy)?;
    let state = options.state.clone().unwrap_or_else(|| beside(&options.file, "journal"));
    let failed_path = options.failed.clone().unwrap_or_else(|| beside(&options.file, "failed.csv"));
    let instance = operator.common.instance.as_str();
    if options.dry_run {
        let done = journal::read(&state, instance)?;
        return dry_run::run(operator, rows, &done, options.concurrency.into(), options.json).await;
    }
    let mut journal = Journal::open(&state, instance)?;
    let total = rows.len();
    let left: VecDeque<Row> = rows.into_iter().filter(|row| !journal.holds(row)).collect();
    let skipped = total - left.len();
    if skipped > 0 {
        remark(&format!("{skipped} of {total} rows were finished before and are not sent again"));
    }
    let progress = Progress::start(total, skipped);
    let mut failures = Failures { path: failed_path, writer: None, written: HashSet::new() };
    let ended = send(operator, options, left, &mut journal, &mut failures, &progress).await;
    progress.finish();
    let (counts, stopped) = ended?;

    say(&format!(
        "{} created, {} updated, {} unchanged, {} failed, {skipped} finished before",
        counts.created, counts.updated, counts.unchanged, counts.failed
    ))?;
    if let Some(reason) = stopped {
        return Err(format!("{reason}; the same command goes on where this stopped").into());
    }
    if counts.failed > 0 {
        remark(&format!("the rows that failed, and why: {}", failures.path.display()));
        return Ok(ExitCode::FAILURE);
    }
    journal.remove()?;
    Ok(ExitCode::SUCCESS)
}

async fn send(
    operator: &Operator,
    options: &Import,
    left: VecDeque<Row>,
    journal: &mut Journal,
    failures: &mut Failures,
    progress: &Progress,
) -> Result<(Counts, Option<String>), Box<dyn Error>> {
    // `Pace` decides when to retry, so it must see every 429. If the Flex client retried automatically, it would hide
    // some of them.
    let ledger = Arc::new(operator.ledger(operator.flex().asking_once()));
    let flex = Arc::new(operator.flex().asking_once());
    let cause = operator.cause();
    let pace = Arc::new(Pace::new(options.concurrency.into(), operator.clock_rng().clone()));
    let mut counts = Counts::default();
    let work = |row, pace| one(row, ledger.clone(), flex.clone(), cause.clone(), pace);
    let halted = each(left, &pace, work, |row, ended| {
        match ended {
            Ok(Finished::Stated(done)) => {
                journal.note(row)?;
                let user = done.user.as_ref().map(|user| &user.flex_user_sid);
                operator.trail.allowed("provision", user, became(&done));
                match done.outcome {
                    Outcome::Created => counts.created += 1,
                    Outcome::Updated => counts.updated += 1,
                    _ => counts.unchanged += 1,
                }
                let name = &row.desired.username;
                let known_as = done.user.as_ref().map(|user| &user.username).or(done.known_as.as_ref());
                if let Some(known_as) = known_as.filter(|known_as| *known_as != name) {
                    progress.remark(&other_spelling(row.line, name.as_str(), known_as.as_str()));
                }
            }
            // The import only compared this row with Flex. The journal must not contain it, because a later import of a
            // changed file may have to send it.
            Ok(Finished::AsInFlex) => counts.unchanged += 1,
            Err(reason) => {
                counts.failed += 1;
                operator.trail.refused("provision", None, &reason);
                failures.write(row, &reason)?;
            }
        }
        progress.step(counts.failed, pace.limit());
        Ok(())
    })
    .await?;
    Ok((counts, halted))
}

/// Provisions one row.
async fn one(
    row: Row,
    ledger: Arc<Ledger>,
    flex: Arc<Flex>,
    cause: EventId,
    pace: Arc<Pace>,
) -> (Row, Attempt<Finished>) {
    let (desired, ledger, flex, cause, pace) = (&row.desired, &*ledger, &*flex, &cause, &*pace);
    let only_compared = row.only_compared();
    let attempt = || async move {
        if let Some(differs) = only_compared {
            let same = is_in_flex(desired, flex).await?;
            return Ok(if same { Attempt::Done(Finished::AsInFlex) } else { Attempt::Failed(differs.to_owned()) });
        }
        let news = News::user(Source::Operator, desired.clone(), pace.now(), cause);
        let done = ledger.state(&news, deadline()).await?;
        Ok(match blocked(&done.blocked) {
            None => Attempt::Done(Finished::Stated(Box::new(done))),
            Some(reason) => Attempt::Failed(reason),
        })
    };
    let outcome = patiently(pace, attempt).await;
    (row, outcome)
}

/// The file of failed rows. It is created when the first row fails.
struct Failures {
    path: PathBuf,
    writer: Option<csv::Writer<File>>,
    /// The usernames in the file.
    written: HashSet<String>,
}

impl Failures {
    /// Writes the row. Also writes the rows that spell its username differently, because a later import may read only
    /// the file of failed rows. If this file contained only one spelling, the later import would not see the conflict,
    /// and would send the row.
    fn write(&mut self, row: &Row, reason: &str) -> Result<(), Box<dyn Error>> {
        self.write_one(&row.desired, reason)?;
        for other in &row.alike {
            self.write_one(other, "the other spelling of a row that failed: leave both in this file")?;
        }
        Ok(())
    }

    fn write_one(&mut self, desired: &DesiredUser, reason: &str) -> Result<(), Box<dyn Error>> {
        if !self.written.insert(desired.username.as_str().to_owned()) {
            return Ok(());
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer = csv::Writer::from_writer(
                    private()
                        .open(&self.path)
                        .map_err(|error| format!("cannot write {}: {error}", self.path.display()))?,
                );
                writer.write_record(COLUMNS.iter().copied().chain(["error"]))?;
                none.insert(writer)
            }
        };
        let roles: Vec<_> = desired.roles.iter().map(|role| role.as_str()).collect();
        let (name, email) = (desired.username.as_str(), desired.email.as_str());
        let cells = [name, email, desired.full_name.as_str(), &roles.join(";"), reason];
        writer.write_record(cells.map(cells::written).iter().map(AsRef::as_ref))?;
        Ok(writer.flush()?)
    }
}

/// Options for a file that only its owner can read, because it contains personal data.
fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
