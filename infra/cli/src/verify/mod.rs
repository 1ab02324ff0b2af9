//! `flexgate verify`: checks that the configured account behaves as Twilio documents, and finds out what the
//! documentation leaves open.

mod made;
mod report;
mod script;
mod session;
mod wire;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use flexgate::base::settings::Reader;
use flexgate::domain::SsoProfiles;
use flexgate_simulator::QUESTIONS;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::task::JoinHandle;

use crate::operator::Operator;
use crate::terminal::{StopSignals, remark};
use made::Made;
use report::Report;
use session::{Halt, Session};
use wire::Wire;

/// How to verify.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct Verify {
    /// Do not ask before creating a user in a real Twilio account
    #[arg(long)]
    yes: bool,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
    /// Write the answers as switches, for flexgate serve --switches FILE
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

fn help() -> String {
    let mut text = "Reads the same environment variables as flexgate serve --live. Makes a user, and deactivates it at the \
        end, whatever happens. Then does the same with a second user that has a long name. Changes nobody else. Twilio may \
        bill one user for this month. Exits 1 if a step is not as documented, or an answer is unknown or missing.\n\n\
        Examples:\n  \
        flexgate verify\n  \
        flexgate verify --yes --json > verify.json\n  \
        flexgate verify --record switches.json && flexgate serve --switches switches.json\n\n\
        Questions (docs/verify.md):"
        .to_owned();
    for question in QUESTIONS {
        let by_hand = if question.by_hand.is_some() { " Only by hand" } else { "" };
        let _infallible = write!(text, "\n  {}: {}{by_hand}", question.switch, question.asks);
    }
    text
}

/// Runs the command.
pub async fn run(options: &Verify) -> Result<ExitCode, Box<dyn Error>> {
    let operator = Operator::from_environment()?;
    let wire = Wire::of(&operator).await?;
    let simulated = wire.is_simulator().await;
    let username = format!("flexgate-verify-{:016x}", u64::from_be_bytes(wire.clock_rng().random()));
    if !simulated && !options.yes {
        confirm(&username, &wire.instance)?;
    }
    let record = options.record.as_ref().map(|path| Record::begin(path)).transpose()?;
    let session = Arc::new(Session {
        made: Made::new(operator.trail.clone()),
        report: Mutex::new(Report::new(!options.json)),
        profile: profile()?,
        username,
        wire,
    });
    let mut signals = StopSignals::listen()?;
    remark(&format!("Making the user {}. It is deactivated at the end.", session.username));
    let script = tokio::spawn(script::run(session.clone()));
    let clean_wire = session.wire.unstoppable();
    let stop = || {
        session.wire.stop();
        remark("Stopping: the user is deactivated first. Press Ctrl-C again to leave it active.");
    };
    let finished = finished(script, session.made.clean_up(&clean_wire), &mut signals, stop).await;
    let Some((ended, left)) = finished else {
        session.made.left().iter().for_each(|name| remark(&still_active(name)));
        return Ok(ExitCode::FAILURE);
    };
    for name in &left {
        remark(&still_active(name));
    }
    let mut report = session.report.lock().unwrap_or_else(PoisonError::into_inner);
    let closed = ended.as_ref().err().map_or(Ok(()), |Halt(why)| {
        remark(&format!("flexgate verify could not ask everything: {why}"));
        report.close(why)
    });
    if let Err(error) = closed.and_then(|()| report.print(simulated, &left)) {
        remark(&format!("the report cannot be written: {error}"));
        return Ok(ExitCode::FAILURE);
    }
    if let Some(record) = record.filter(|_| ended.is_ok()) {
        record.keep(&report.switches())?;
    }
    let is_good = ended.is_ok() && left.is_empty() && report.is_good();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for the script, and then for the clean-up, even if the script panics. At the first signal, calls `stop`, which
/// makes the script end after its current request. At the second signal, returns `None` without finishing the
/// clean-up.
async fn finished(
    script: JoinHandle<Result<(), Halt>>,
    clean_up: impl Future<Output = Vec<String>>,
    signals: &mut StopSignals,
    stop: impl Fn(),
) -> Option<(Result<(), Halt>, Vec<String>)> {
    let work = async {
        let ended = script.await.unwrap_or_else(|error| Err(Halt(format!("an error of flexgate itself ({error})"))));
        (ended, clean_up.await)
    };
    tokio::pin!(work);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            () = signals.next() => {
                if is_stopping {
                    return None;
                }
                is_stopping = true;
                stop();
            }
        }
    }
}

fn still_active(username: &str) -> String {
    format!("The user {username} may still be active: run flexgate users deprovision {username}")
}

fn confirm(username: &str, instance: &str) -> Result<(), Box<dyn Error>> {
    let what = format!(
        "flexgate verify makes the user {username} in the Flex instance {instance}, and deactivates it at the end. \
         Twilio may bill this user."
    );
    if !std::io::stdin().is_terminal() {
        return Err(format!("{what} Use --yes to agree").into());
    }
    let mut err = std::io::stderr();
    write!(err, "{what} It changes nobody else. Type yes to go on: ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err("nothing was changed".into()) }
}

/// Returns the SID of the first SSO profile, if one is configured.
fn profile() -> Result<Option<String>, Box<dyn Error>> {
    let mut reader = Reader::of_process();
    let profiles = reader.optional("FLEXGATE_SSO_PROFILES", str::parse::<SsoProfiles>);
    let profiles = reader.finish(profiles)?;
    Ok(profiles.and_then(|profiles| profiles.iter().next().map(|profile| profile.sid.to_string())))
}

/// The file to which the command writes the answers as switches. During the run, the file has a temporary name. If the
/// folder is not writable, the command fails before the run.
struct Record<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> Record<'a> {
    fn begin(path: &'a Path) -> Result<Self, String> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file =
            NamedTempFile::new_in(folder).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self { file, path })
    }

    fn keep(mut self, switches: &Value) -> Result<(), Box<dyn Error>> {
        writeln!(self.file, "{}", serde_json::to_string_pretty(switches)?)?;
        self.file.persist(self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_script_that_panics_is_cleaned_up() {
        let mut signals = StopSignals::listen().unwrap();
        let script = tokio::spawn(async { panic!("a fault of verify") });
        let clean_up = async { vec!["somebody".to_owned()] };
        let (ended, left) = finished(script, clean_up, &mut signals, || {}).await.unwrap();
        assert!(ended.unwrap_err().0.contains("an error of flexgate itself"));
        assert_eq!(left, ["somebody"]);
    }
}
