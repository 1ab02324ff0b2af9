//! `flexgate users sweep`: everybody in Flex compared with what the people ledger says.

use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use flexgate::users::ledger::SweepError;

use crate::operator::{Operator, deadline};
use crate::terminal::{remark, say};

/// How to sweep.
#[derive(Debug, Args)]
#[command(
    after_help = "Walks over all users of Flex once and refreshes the index of usernames. Whoever is not as the people\n\
    ledger says is repaired by a job, which the running gateway (on AWS: apply) does. Users of whom no source has\n\
    said anything are counted and left alone. A walk that does not come to its end repairs nothing.\n\n\
    A sweep that would take a role or access from more than 20 users, or a twentieth of all if that is more,\n\
    queues no repair and exits 1.\n\n\
    Examples:\n  \
    flexgate users sweep --dry-run\n  \
    flexgate users sweep\n  \
    flexgate users sweep --limit 200"
)]
pub struct Sweep {
    /// Say what differs; write and repair nothing
    #[arg(long)]
    dry_run: bool,
    /// From how many users the repairs may take a role or access [default: 20, or a twentieth of all users]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Sweeps.
pub async fn run(operator: &Operator, options: &Sweep) -> Result<ExitCode, Box<dyn Error>> {
    let queue = operator.queue();
    let queue = (!options.dry_run).then_some(queue.as_ref());
    let progress = |seen: usize| remark(&format!("{seen} users seen"));
    let swept = match operator.ledger(operator.flex()).sweep(queue, options.limit, deadline, progress).await {
        Ok(swept) => swept,
        Err(error) => {
            operator.trail.refused("sweep_users", None, &error.to_string());
            let cause = match &error {
                SweepError::Ledger(cause) => format!(": {cause}"),
                SweepError::TooMany { .. } => String::new(),
            };
            return Err(format!("{error}{cause}").into());
        }
    };
    let rows = [
        ("users", swept.users),
        ("active", swept.active),
        ("active, and no source has said anything about them", swept.orphans),
        ("not as the ledger says", swept.drifted),
        ("of these, the repair takes a role or access", swept.losing_access),
        ("of these, active though a source says inactive", swept.inactive_but_active),
        ("described in part by the list", swept.unclear),
        ("people whose Flex user is gone", swept.missing),
        ("repairs queued", swept.queued),
    ];
    for (what, count) in rows {
        say(&format!("{count:>8}  {what}"))?;
    }
    if !options.dry_run {
        operator.trail.allowed("sweep_users", None, &format!("{} repairs", swept.queued));
    }
    Ok(ExitCode::SUCCESS)
}
