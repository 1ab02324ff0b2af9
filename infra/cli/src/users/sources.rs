//! `flexgate users sources`: lists the sources of statements, and withdraws a retired source.

use std::error::Error;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use flexgate::domain::ledger::Source;
use flexgate::users::ledger::{Withdrawal, most_losing_access};
use time::format_description::well_known::Rfc3339;

use crate::operator::{Operator, deadline};
use crate::terminal::{harmless, remark, say};

/// What to do with the sources.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A source is scim, scim-group:ID, claims:ISSUER, webhook:NAME, api or operator.\n\n\
    Examples:\n  \
    flexgate users sources\n  \
    flexgate users sources withdraw webhook:okta --dry-run\n  \
    flexgate users sources withdraw webhook:okta --yes"
)]
pub struct Sources {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Withdraw everything that a retired source has said. Roles that only this source gave are removed. People whom
    /// the source calls inactive stay inactive, through a statement by the operator
    Withdraw {
        /// The source, as `flexgate users sources` lists it
        source: Source,
        /// Show what would change, without changing anything
        #[arg(long)]
        dry_run: bool,
        /// Withdraw the source
        #[arg(long, conflicts_with = "dry_run")]
        yes: bool,
        /// Withdraw the source even if more than 20 people (or a twentieth of all, if that is more) lose a role
        #[arg(long)]
        force: bool,
    },
}

/// Lists the sources, or withdraws one.
pub async fn run(operator: &Operator, options: &Sources) -> Result<ExitCode, Box<dyn Error>> {
    match &options.action {
        None => list(operator).await,
        Some(Action::Withdraw { source, dry_run, yes, force }) => {
            withdraw(operator, source, *dry_run, *yes, *force).await
        }
    }
}

async fn list(operator: &Operator) -> Result<ExitCode, Box<dyn Error>> {
    let progress = |read: usize| remark(&format!("{read} people read"));
    let sources = operator.ledger(operator.flex()).sources(progress).await?;
    say(&format!("{:>8}  {:>8}  {:>8}  {:<20}  source", "people", "active", "inactive", "last said something"))?;
    for (source, count) in sources {
        let last = count.last.and_then(|at| at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()).unwrap_or_default();
        let (people, active, inactive) = (count.people, count.active, count.inactive);
        say(&harmless(&format!("{people:>8}  {active:>8}  {inactive:>8}  {last:<20}  {source}")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn withdraw(
    operator: &Operator,
    source: &Source,
    dry_run: bool,
    yes: bool,
    force: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    if let Source::ScimGroup(_) = source {
        return Err("a group says what its list of members is: delete the group, by SCIM, to end that".into());
    }
    let ledger = operator.ledger(operator.flex());
    let sources = ledger.sources(|_| {}).await?;
    let foreseen = ledger.foresee_withdrawal(source, deadline).await?;
    if foreseen.people + foreseen.unfinished + foreseen.finished == 0 {
        let known: Vec<String> = sources.keys().map(ToString::to_string).collect();
        return Err(format!("{source} has said nothing about anybody; those that have: {}", known.join(", ")).into());
    }
    for line in lines(&foreseen) {
        say(&line)?;
    }
    if dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let all = sources.values().map(|count| count.people).max().unwrap_or_default();
    if foreseen.losing_any > most_losing_access(all) && !force {
        return Err(format!("{} people would lose a role: say --force if that is meant", foreseen.losing_any).into());
    }
    if !yes {
        return Err("nothing was changed: say --yes to withdraw the source".into());
    }
    let due = foreseen.people + foreseen.unfinished;
    let progress = |done: usize| {
        if done.is_multiple_of(100) {
            remark(&format!("{done} of {due} people done"));
        }
    };
    let done = ledger.withdraw_source(source, &operator.cause(), deadline, progress).await?;
    for (who, why) in &done.failed {
        remark(&format!("{who}: {why}"));
    }
    let said = format!("{source}: {} people, {} failed", done.people, done.failed.len());
    operator.trail.allowed("withdraw_source", None, &said);
    say(&format!("withdrew {said}"))?;
    if done.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    remark("the same command goes on with those who failed");
    Ok(ExitCode::FAILURE)
}

fn lines(foreseen: &Withdrawal) -> Vec<String> {
    let mut lines = vec![
        format!("{:>8}  people of whom it says something", foreseen.people),
        format!("{:>8}  whom it holds inactive, and who stay so", foreseen.kept_inactive),
        format!("{:>8}  who lose a role", foreseen.losing_any),
    ];
    if foreseen.unfinished > 0 {
        let line = "of whom it was withdrawn before, but Flex was not brought in step";
        lines.push(format!("{:>8}  {line}", foreseen.unfinished));
    }
    lines.extend(foreseen.losing.iter().map(|(role, people)| format!("{people:>8}  who lose {role}")));
    lines
}
