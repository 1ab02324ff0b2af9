//! `flexgate users import`: provisions every row of a file once.
//!
//! When a row has been provisioned, the import records it in the journal. A recorded row is never sent again. The
//! process may be killed after it sent a row but before it recorded the row. The next import then compares that row
//! with Flex, finds that the user already matches, and does not send it again either.

mod journal;
mod pace;
mod progress;
mod rows;

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId};
use flexgate::twilio::{Flex, TwilioError};
use flexgate::users::ledger::{Ledger, LedgerError, News, Outcome, Report};
use tokio::task::JoinSet;

use super::cells::{self, COLUMNS};
use super::outcome::{became, blocked, reason};
use crate::operator::{Operator, deadline};
use crate::terminal::{remark, say, stopped};
use journal::Journal;
use pace::Pace;
use progress::Progress;
use rows::Row;

/// How often the import tries a row if Twilio keeps failing. `BUSY_TRIES` is the limit if Twilio is only busy, or if
/// another process is changing the person.
const TRIES: u32 = 6;
const BUSY_TRIES: u32 = 30;

/// The maximum number of unfinished rows per concurrent request. Most of these rows wait for a retry while others are
/// sent.
const WAITING: usize = 4;

/// What to import, and how.
#[derive(Debug, Args)]
#[command(
    after_help = "The file is UTF-8 CSV with the columns username,email,full_name,roles in any order. Separate roles\n\
    with semicolons. The whole file is checked before anything is sent. A column named error, as in the file of\n\
    failed rows, is ignored, so you can correct that file and import it.\n\n  \
    username,email,full_name,roles\n  \
    ada,ada@example.com,Ada Lovelace,agent;supervisor\n\n\
    If the import is stopped or killed, the same command continues it. Exits 1 if a row failed.\n\n\
    Examples:\n  \
    flexgate users import people.csv --dry-run\n  \
    flexgate users import people.csv\n  \
    flexgate users import people.csv --concurrency 4 --state /var/lib/flexgate/people.journal"
)]
pub struct Import {
    /// The CSV file
    file: PathBuf,
    /// Check the file and show how many rows would be sent; send nothing
    #[arg(long)]
    dry_run: bool,
    /// The maximum number of rows to send at the same time; fewer while Twilio limits the rate
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// The file in which finished rows are recorded [default: FILE.journal]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The file to which failed rows are written [default: FILE.failed.csv]
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
}

/// The outcome of a row.
enum Fate {
    Done(Box<Report>),
    /// Flex already has exactly this user, so nothing was sent.
    AsInFlex,
    Failed(String),
    /// An error that every other row would get too, so the import stops.
    Hopeless(String),
    /// The import stopped before it could send the row.
    Left,
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
        let left = rows.iter().filter(|row| !done.contains(&row.key)).count();
        say(&format!("{} rows are well formed, {left} would be sent; nothing was", rows.len()))?;
        return Ok(ExitCode::SUCCESS);
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
    mut left: VecDeque<Row>,
    journal: &mut Journal,
    failures: &mut Failures,
    progress: &Progress,
) -> Result<(Counts, Option<String>), Box<dyn Error>> {
    // Disable the Flex client's own retries. `Pace` decides when to retry, so it must see every 429 from Twilio.
    let ledger = Arc::new(operator.ledger(operator.flex().asking_once()));
    let flex = Arc::new(operator.flex().asking_once());
    let cause = operator.cause();
    let most = usize::from(options.concurrency);
    let pace = Arc::new(Pace::new(most, operator.clock_rng().clone()));
    let (mut counts, mut halted) = (Counts::default(), None);
    let mut under_way = JoinSet::new();
    let interrupted = stopped();
    tokio::pin!(interrupted);
    loop {
        while halted.is_none() && under_way.len() < most * WAITING {
            let Some(row) = left.pop_front() else { break };
            under_way.spawn(one(row, ledger.clone(), flex.clone(), cause.clone(), pace.clone()));
        }
        let ended = tokio::select! {
            ended = under_way.join_next() => ended,
            () = &mut interrupted, if halted.is_none() => {
                halted = Some("interrupted".to_owned());
                pace.stop();
                continue;
            }
        };
        let Some(ended) = ended else { break };
        let (row, fate) = ended?;
        match fate {
            Fate::Done(done) => {
                journal.note(&row)?;
                let user = done.user.as_ref().map(|user| &user.flex_user_sid);
                operator.trail.allowed("provision", user, became(&done));
                match done.outcome {
                    Outcome::Created => counts.created += 1,
                    Outcome::Updated => counts.updated += 1,
                    _ => counts.unchanged += 1,
                }
            }
            // Don't record the row in the journal. A later version of the file may no longer contain the other
            // spelling. The import must then send this row.
            Fate::AsInFlex => counts.unchanged += 1,
            Fate::Failed(reason) => {
                counts.failed += 1;
                operator.trail.refused("provision", None, &reason);
                failures.write(&row, &reason)?;
            }
            Fate::Hopeless(reason) => {
                pace.stop();
                halted = halted.or(Some(reason));
                continue;
            }
            Fate::Left => continue,
        }
        progress.step(counts.failed, pace.limit());
    }
    Ok((counts, halted))
}

/// Provisions one row. Retries after temporary errors.
async fn one(row: Row, ledger: Arc<Ledger>, flex: Arc<Flex>, cause: EventId, pace: Arc<Pace>) -> (Row, Fate) {
    let mut tries = 0;
    let fate = loop {
        let Some(seat) = pace.slot().await else { break Fate::Left };
        tries += 1;
        let answer = if row.alike.is_empty() {
            let news = News::user(Source::Operator, row.desired.clone(), pace.now(), &cause);
            let done = ledger.state(&news, deadline()).await;
            done.map(|done| blocked(&done).map_or_else(|| Fate::Done(Box::new(done)), Fate::Failed))
        } else {
            compare(&row.desired, &flex).await
        };
        drop(seat);
        let error = match answer {
            Ok(fate) => break fate,
            Err(LedgerError::Store(error)) => break Fate::Hopeless(error.to_string()),
            // Another process is changing the person, or was killed while it did so. In the second case, its lease on
            // the person expires soon.
            Err(LedgerError::Busy(_)) if tries < BUSY_TRIES => {
                pace.pause(tries).await;
                continue;
            }
            Err(LedgerError::Twilio(error)) => error,
            Err(error) => break Fate::Failed(reason(&error)),
        };
        match &error {
            TwilioError::Busy(api) if tries < BUSY_TRIES => pace.slow_down(api.retry_after, tries).await,
            TwilioError::Failing(_) | TwilioError::Lost(_) | TwilioError::Timeout | TwilioError::Unreachable(_)
                if tries < TRIES =>
            {
                pace.pause(tries).await;
            }
            TwilioError::CredentialRejected(_)
            | TwilioError::PermissionMissing(_)
            | TwilioError::Foreign
            | TwilioError::Secret(_)
            | TwilioError::Busy(_)
            | TwilioError::Unreachable(_) => break Fate::Hopeless(error.to_string()),
            _ => break Fate::Failed(error.to_string()),
        }
    };
    if matches!(fate, Fate::Done(_) | Fate::AsInFlex) {
        pace.speed_up();
    }
    (row, fate)
}

/// Compares the row with Flex. The usernames must have exactly the same spelling.
async fn compare(desired: &DesiredUser, flex: &Flex) -> Result<Fate, LedgerError> {
    let user = match flex.find(&desired.username, deadline()).await? {
        Some(user) if !user.is_complete() => Some(flex.get(&user.flex_user_sid, deadline()).await?),
        found => found,
    };
    let is_same = user.is_some_and(|user| {
        user.is_active()
            && user.email.as_deref() == Some(desired.email.as_str())
            && user.full_name.as_deref() == Some(desired.full_name.as_str())
            && user.roles.is_some_and(|roles| *roles.known() == desired.roles)
    });
    let refused = "another row has this username in another spelling, and Flex has something else: change this user in \
                   the Flex console";
    Ok(if is_same { Fate::AsInFlex } else { Fate::Failed(refused.to_owned()) })
}

/// The file of failed rows. It is created when the first row fails.
struct Failures {
    path: PathBuf,
    writer: Option<csv::Writer<File>>,
    /// The usernames of the rows that are already in the file.
    written: HashSet<String>,
}

impl Failures {
    /// Writes the row, and also the rows with other spellings of its username. The operator will correct the file and
    /// import it again. Because the file contains both spellings, that import does not mistake the two Flex users for
    /// one person.
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
