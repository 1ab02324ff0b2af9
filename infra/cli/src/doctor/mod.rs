//! `flexgate doctor`: checks the set-up and suggests how to fix each problem. It changes nothing at Twilio, and prints
//! no secrets.

mod aws;
mod checks;
mod finding;
mod groups;
mod parameters;
mod people;
mod queue;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::settings::Reader;
use serde_json::json;

use crate::terminal::{Paint, paint, remark, say};
use finding::{Finding, Status};
use groups::Groups;
use parameters::{Format, Parameters};

/// What to check, and how to report.
#[derive(Debug, Args)]
#[command(
    after_help = "By itself, doctor checks the set-up in the environment variables of flexgate serve --live. With \
    --template-parameters or --aws, it checks these instead. --aws looks at the table that FLEXGATE_STORE names. Exits 1 \
    if a check failed.\n\n\
    FILE is a JSON object of the template's parameters. A list may be an array, and a JSON setting may be real JSON:\n  \
    {\"TwilioAccountSid\": \"AC…\", \"AllowedRoles\": [\"agent\", \"supervisor\"], \"TrustedProxies\": 1,\n   \
    \"Issuers\": [{\"issuer\": \"https://login.example.com/\", \"audiences\": [\"flexgate\"]}]}\n\n\
    Examples:\n  \
    flexgate doctor\n  \
    flexgate doctor --json | jq '.checks[] | select(.status != \"ok\")'\n  \
    flexgate doctor --template-parameters prod.json\n  \
    PARAMETERS=\"$(flexgate doctor --template-parameters prod.json --format sam)\" &&\n    \
    sam deploy --parameter-overrides \"$PARAMETERS\"\n  \
    flexgate doctor --aws --template-parameters prod.json"
)]
pub struct Doctor {
    /// Check the parameters of a deployment (docs/deploy.md), and print them in the form that sam deploy needs
    #[arg(long, value_name = "FILE")]
    template_parameters: Option<PathBuf>,
    /// Print only the parameters, in this format. Mistakes go to standard error
    #[arg(long, requires = "template_parameters", conflicts_with = "json")]
    format: Option<Format>,
    /// Ask AWS, with your credentials, for the account's limits and the table's protection, and check them. Changes
    /// nothing
    #[arg(long)]
    aws: bool,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

/// Runs the checks and reports.
pub async fn run(options: &Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let clock_rng = ClockRng::system();
    let parameters = options.template_parameters.as_deref().map(Parameters::read).transpose()?;
    let mut findings = parameters.as_ref().map(|parameters| parameters.findings.clone()).unwrap_or_default();
    if options.aws {
        findings.extend(aws::check(parameters.as_ref(), &clock_rng).await?);
    }
    if parameters.is_none() && !options.aws {
        findings = checks::all(&Groups::read(Reader::of_process()), &clock_rng).await;
    }
    let failed = findings.iter().filter(|finding| finding.status == Status::Failure).count();
    let good = parameters.as_ref().filter(|_| failed == 0);
    if options.json {
        say(&serde_json::to_string_pretty(&json!({ "healthy": failed == 0, "checks": findings }))?)?;
    } else if let Some(format) = options.format {
        findings.iter().filter(|finding| finding.status != Status::Ok).for_each(|finding| remark(&line(finding)));
        if let Some(parameters) = good {
            say(&parameters.written(format))?;
        }
    } else {
        for finding in &findings {
            say(&line(finding))?;
        }
        say(&match failed {
            0 => "\nnothing failed".to_owned(),
            1 => "\n1 check failed".to_owned(),
            _ => format!("\n{failed} checks failed"),
        })?;
        if let Some(parameters) = good {
            say("\nPass this to sam deploy (for other forms, see --format):\n")?;
            say(&parameters.option())?;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(finding: &Finding) -> String {
    let mark = match finding.status {
        Status::Ok => paint("ok     ", Paint::Green),
        Status::Warning => paint("warning", Paint::Yellow),
        Status::Failure => paint("FAILURE", Paint::Red),
    };
    let remedy = finding.remedy.as_ref().map(|remedy| format!("\n{:<22} → {remedy}", ""));
    format!("{mark}  {:<12} {}{}", finding.check, finding.text, remedy.unwrap_or_default())
}
