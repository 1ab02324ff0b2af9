//! `flexgate doctor`: checks the set-up and suggests how to fix each problem. It changes nothing at Twilio, and prints
//! no secrets.

mod checks;
mod finding;
mod groups;
mod people;
mod queue;

use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::settings::Reader;
use serde_json::json;

use crate::terminal::{Paint, paint, say};
use finding::{Finding, Status};
use groups::Groups;

/// How to report.
#[derive(Debug, Args)]
#[command(after_help = "Reads the same environment variables as flexgate serve --live. Exits 1 if a check failed.\n\n\
    Examples:\n  \
    flexgate doctor\n  \
    flexgate doctor --json | jq '.checks[] | select(.status != \"ok\")'")]
pub struct Doctor {
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

/// Runs all checks and reports.
pub async fn run(options: &Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let groups = Groups::read(Reader::of_process());
    let findings = checks::all(&groups, &ClockRng::system()).await;
    let failed = findings.iter().filter(|finding| finding.status == Status::Failure).count();
    if options.json {
        say(&serde_json::to_string_pretty(&json!({ "healthy": failed == 0, "checks": findings }))?)?;
    } else {
        for finding in &findings {
            show(finding)?;
        }
        say(&match failed {
            0 => "\nnothing failed".to_owned(),
            1 => "\n1 check failed".to_owned(),
            _ => format!("\n{failed} checks failed"),
        })?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(finding: &Finding) -> std::io::Result<()> {
    let mark = match finding.status {
        Status::Ok => paint("ok     ", Paint::Green),
        Status::Warning => paint("warning", Paint::Yellow),
        Status::Failure => paint("FAILURE", Paint::Red),
    };
    say(&format!("{mark}  {:<12} {}", finding.check, finding.text))?;
    match &finding.remedy {
        Some(remedy) => say(&format!("{:<22} → {remedy}", "")),
        None => Ok(()),
    }
}
