//! `flexgate users`: shows and changes Flex users. It uses the gateway's Flex client and people ledger.

mod cells;
mod explain;
mod export;
mod import;
mod outcome;
mod sources;
mod sweep;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, Email, FlexUser, FlexUserSid, FullName, Role, Username};
use flexgate::users::ledger::{Earlier, LedgerError, News};
use flexgate::users::{Pages, in_full};
use serde_json::{Value, json};

use crate::operator::{Operator, deadline};
use crate::terminal::{harmless, remark, say};
use cells::COLUMNS;
use outcome::{became, blocked, reason};

/// What to do.
#[derive(Debug, Args)]
#[command(after_help = "Reads the same environment variables as flexgate serve --live.\n\n\
    Examples:\n  \
    flexgate users list\n  \
    flexgate users show ada\n  \
    flexgate users explain ada\n  \
    flexgate users provision --username ada --email ada@example.com --full-name 'Ada Lovelace' --role agent\n  \
    flexgate users export --output people.csv\n  \
    flexgate users import people.csv --dry-run")]
pub struct Users {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all users: SID, state, username, roles
    List {
        /// Print one JSON document per line, with all fields
        #[arg(long)]
        json: bool,
    },
    /// Show one user, as JSON
    Show {
        /// The username, or the SID (FU…)
        user: String,
    },
    /// Explain why a user is active or inactive, and why the user has or lacks each role. Also show what each source
    /// says
    Explain(explain::Explain),
    /// Create a user, or update an existing one
    Provision(Provision),
    /// Deactivate a user and end their sessions
    Deprovision {
        /// The username, or the SID (FU…)
        user: String,
    },
    /// Export the active users to a file that import can read
    Export {
        /// The file [default: standard output]. An existing file is not overwritten
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Provision every row of a CSV file; the same command continues an import that was stopped
    Import(import::Import),
    /// Compare all Flex users with the people ledger, and repair the differences
    Sweep(sweep::Sweep),
    /// List the sources that have described people, or withdraw the statements of a retired source
    Sources(sources::Sources),
}

/// The user to provision.
#[derive(Debug, Args)]
struct Provision {
    /// Twilio's key for the user; not the e-mail address
    #[arg(long)]
    username: Username,
    /// The e-mail address
    #[arg(long)]
    email: Email,
    /// The full name
    #[arg(long)]
    full_name: FullName,
    /// agent, supervisor or admin; repeat it for several roles
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<Role>,
    /// Give the username of an inactive person to a different person, who inherits nothing from the first
    #[arg(long)]
    new: bool,
    /// Reactivate the same person: withdraw every statement that they are inactive. A source can state it again later
    #[arg(long, conflicts_with = "new")]
    same: bool,
}

/// Runs the command.
pub async fn run(options: &Users) -> Result<ExitCode, Box<dyn Error>> {
    let operator = Operator::from_environment()?;
    match &options.action {
        Action::List { json } => list(&operator, *json).await?,
        Action::Show { user } => say(&serde_json::to_string_pretty(&shown(&operator.user(user).await?))?)?,
        Action::Explain(options) => explain::run(&operator, options).await?,
        Action::Provision(wanted) => provision(&operator, wanted).await?,
        Action::Deprovision { user } => {
            let user = operator.user(user).await?;
            let (sid, name) = (user.flex_user_sid.clone(), user.username.clone());
            let leaves = News::end(Source::Operator, user, operator.clock_rng().now(), &operator.cause());
            let done = operator.ledger(operator.flex()).state(&leaves, deadline()).await;
            note(&operator, "deprovision", Some(&sid), done.as_ref().map(|_| "deprovisioned"));
            done.map_err(|error| reason(&error))?;
            say(&format!("deactivated {sid} ({})", harmless(name.as_str())))?;
        }
        Action::Export { output } => export(&operator, output.as_ref()).await?,
        Action::Import(options) => return import::run(&operator, options).await,
        Action::Sources(options) => return sources::run(&operator, options).await,
        Action::Sweep(options) => return sweep::run(&operator, options).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(operator: &Operator, json: bool) -> Result<(), Box<dyn Error>> {
    let flex = operator.flex();
    let mut pages = Pages::of(&flex);
    while let Some(users) = pages.next(deadline()).await? {
        for user in users {
            if json {
                say(&shown(&user).to_string())?;
                continue;
            }
            let state = match user.deactivated {
                Some(false) => "active",
                Some(true) => "deactivated",
                None => "unknown",
            };
            let roles = user.roles.as_ref().map(|roles| roles.names().join(";")).unwrap_or_default();
            let name = harmless(user.username.as_str());
            say(&format!("{}  {state:<11}  {name:<32}  {}", user.flex_user_sid, harmless(&roles)))?;
        }
    }
    Ok(())
}

async fn provision(operator: &Operator, wanted: &Provision) -> Result<(), Box<dyn Error>> {
    let roles = wanted.roles.iter().copied().collect();
    if let Some(role) = operator.policy.forbidden_role(&roles) {
        operator.trail.refused("provision", None, "role_forbidden");
        return Err(format!("the role {role} is not among FLEXGATE_ALLOWED_ROLES").into());
    }
    let desired = DesiredUser {
        username: wanted.username.clone(),
        email: wanted.email.clone(),
        full_name: wanted.full_name.clone(),
        roles,
        worker_attributes: None,
    };
    if wanted.same {
        let (ledger, cause) = (operator.ledger(operator.flex()), operator.cause());
        let lifted =
            ledger.lift_inactive(&wanted.username, &cause, deadline()).await.map_err(|error| reason(&error))?;
        for source in lifted {
            operator.trail.allowed("lift_inactive", None, &source.to_string());
            remark(&format!("{source} said that the person is inactive; that is withdrawn"));
        }
    }
    let earlier = if wanted.new { Earlier::Nothing } else { Earlier::Everything };
    let news = News::user(Source::Operator, desired, operator.clock_rng().now(), &operator.cause());
    let done = operator.ledger(operator.flex()).state(&News { earlier, ..news }, deadline()).await;
    let user = done.as_ref().ok().and_then(|done| done.user.as_ref()).map(|user| user.flex_user_sid.clone());
    note(operator, "provision", user.as_ref(), done.as_ref().map(became));
    let done = done.map_err(|error| reason(&error))?;
    if let Some(blocked) = blocked(&done.blocked) {
        return Err(blocked.into());
    }
    Ok(say(&format!("{} {}", became(&done), user.as_ref().map_or("nobody", FlexUserSid::as_str)))?)
}

fn note(operator: &Operator, action: &str, user: Option<&FlexUserSid>, done: Result<&str, &LedgerError>) {
    match done {
        Ok(became) => operator.trail.allowed(action, user, became),
        Err(error) => operator.trail.refused(action, user, &reason(error)),
    }
}

async fn export(operator: &Operator, output: Option<&PathBuf>) -> Result<(), Box<dyn Error>> {
    let file = output.map(|path| export::Output::create(path)).transpose()?;
    let out: Box<dyn Write> = match &file {
        Some(file) => Box::new(file.writer()?),
        None => Box::new(std::io::stdout()),
    };
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS)?;
    let flex = operator.flex();
    let (mut pages, mut count) = (Pages::of(&flex), 0_usize);
    while let Some(users) = pages.next(deadline()).await? {
        for user in users {
            let user = in_full(&flex, user, deadline()).await?;
            if user.is_deactivated() {
                continue;
            }
            let roles = user.roles.as_ref().map(|roles| roles.names().join(";")).unwrap_or_default();
            let (email, name) = (user.email.unwrap_or_default(), user.full_name.unwrap_or_default());
            let cells = [user.username.as_str(), &email, &name, &roles].map(cells::written);
            csv.write_record(cells.iter().map(AsRef::as_ref))?;
            count += 1;
        }
    }
    csv.flush()?;
    drop(csv);
    if let Some(file) = file {
        file.keep()?;
    }
    operator.trail.allowed("export_users", None, &format!("{count} users"));
    remark(&format!("exported {count} active users"));
    Ok(())
}

fn shown(user: &FlexUser) -> Value {
    json!({
        "flex_user_sid": user.flex_user_sid, "username": user.username, "email": user.email,
        "full_name": user.full_name, "roles": user.roles, "locale": user.locale, "deactivated": user.deactivated,
        "worker_sid": user.worker_sid, "created_date": user.created_date, "updated_date": user.updated_date,
        "version": user.version,
    })
}
