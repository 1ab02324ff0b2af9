//! `flexgate doctor`: is this set-up well, and if not, what to do.
//!
//! A line for each thing looked at: ok, warning or failure. It changes nothing at Twilio, and nothing
//! it writes holds a secret.

mod checks;
mod queue;

use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use flexgate::authn::CallerSettings;
use flexgate::base::ambient::Ambient;
use flexgate::base::settings::{Reader, VariableError};
use flexgate::platform::Common;
use flexgate::twilio::CredentialSettings;
use flexgate::users::PolicySettings;
use flexgate_provision::ScimSettings;
use flexgate_sso::SignInSettings;
use flexgate_webhooks::WebhookSettings;
use serde::Serialize;
use serde_json::json;

use crate::terminal::{Paint, paint, say};

/// How to report.
#[derive(Debug, Args)]
#[command(after_help = "Reads the environment as flexgate serve --live does. Exits 1 if anything failed.\n\n\
    Examples:\n  \
    flexgate doctor\n  \
    flexgate doctor --json | jq '.checks[] | select(.status != \"ok\")'")]
pub struct Doctor {
    /// One JSON document instead of lines
    #[arg(long)]
    json: bool,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warning,
    Failure,
}

/// One thing looked at.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, text: text.into(), remedy: None }
    }

    fn warning(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, status: Status::Warning, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn failure(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, status: Status::Failure, text: text.into(), remedy: Some(remedy.into()) }
    }
}

/// The groups of settings that can be read; each check needs some of them.
struct Groups {
    common: Option<Common>,
    credential: Option<CredentialSettings>,
    sign_in: Option<SignInSettings>,
    caller: Option<CallerSettings>,
    webhooks: Option<WebhookSettings>,
    /// `None` also where SCIM is not served.
    scim: Option<ScimSettings>,
    mistakes: Vec<VariableError>,
}

impl Groups {
    fn read(mut reader: Reader) -> Self {
        let (common, credential) = (Common::read(&mut reader), CredentialSettings::read(&mut reader));
        let (sign_in, caller) = (SignInSettings::read(&mut reader), CallerSettings::read(&mut reader));
        let (webhooks, scim) = (WebhookSettings::read(&mut reader), ScimSettings::read(&mut reader).flatten());
        let (_policy, _tries) = (PolicySettings::read(&mut reader), flexgate_apply::tries(&mut reader));
        let mistakes = reader.finish(Some(())).err().map(|error| error.variables().to_vec()).unwrap_or_default();
        Self { common, credential, sign_in, caller, webhooks, scim, mistakes }
    }
}

/// Looks at everything and reports.
pub async fn run(options: &Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let groups = Groups::read(Reader::of_process());
    let findings = checks::all(&groups, &Ambient::system()).await;
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
