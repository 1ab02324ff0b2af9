//! `flexgate users sweep`: compares every Flex user with the people ledger.

use std::error::Error;
use std::process::ExitCode;

use clap::Args;
use flexgate::domain::Role;
use flexgate::domain::ledger::Source;
use flexgate::users::ledger::{News, SweepOptions, Swept, most_losing_access};

use super::outcome::reason;
use crate::operator::{Operator, deadline};
use crate::terminal::{remark, say};

/// How to sweep.
#[derive(Debug, Args)]
#[command(
    after_help = "Lists all Flex users once and refreshes the username index. If a user differs from the people\n\
    ledger, the sweep queues a repair job, which the running gateway (on AWS: apply) carries out. It counts users\n\
    about whom no source has said anything, and changes them only with --deactivate-orphans. It repairs a user at\n\
    most twice in 30 days, but deactivates leavers every time. It only reports a third difference: something else,\n\
    such as Twilio's SSO, sets the user at each login. If the sweep cannot list all users, it repairs nothing.\n\n\
    If the repairs would take a role or access from more than 20 users (or a twentieth of all users, if that is\n\
    more), the sweep queues no repair and exits 1.\n\n\
    Examples:\n  \
    flexgate users sweep --dry-run\n  \
    flexgate users sweep\n  \
    flexgate users sweep --limit 200\n  \
    flexgate users sweep --dry-run --names --deactivate-orphans 90"
)]
pub struct Sweep {
    /// Show what differs; write and repair nothing
    #[arg(long)]
    dry_run: bool,
    /// The maximum number of users who may lose a role or access [default: 20, or a twentieth of all users if that is
    /// more]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Deactivate users about whom no source has ever said anything and who were created at least this many days ago,
    /// except administrators
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3_650))]
    deactivate_orphans: Option<u16>,
    /// Count active users whose TaskRouter worker has not changed its activity for this many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3_650))]
    idle: Option<u16>,
    /// Deactivate the users that --idle finds, except administrators
    #[arg(long, requires = "idle")]
    deactivate_idle: bool,
    /// Name the users about whom no source says anything, the users whom somebody else changes back after every repair,
    /// and the users that --idle finds
    #[arg(long)]
    names: bool,
}

/// Runs a sweep.
pub async fn run(operator: &Operator, options: &Sweep) -> Result<ExitCode, Box<dyn Error>> {
    let queue = operator.queue();
    let sweeping = SweepOptions {
        queue: (!options.dry_run).then_some(queue.as_ref()),
        limit: options.limit,
        orphans_after: options.deactivate_orphans.map(|days| time::Duration::days(days.into())),
        idle_after: options.idle.map(|days| time::Duration::days(days.into())),
    };
    let progress = |seen: usize| remark(&format!("{seen} users seen"));
    let swept = match operator.ledger(operator.flex()).sweep(sweeping, deadline, progress).await {
        Ok(swept) => swept,
        Err(error) => {
            operator.trail.refused("sweep_users", None, &error.to_string());
            return Err(error.into());
        }
    };
    let rows = [
        ("users", swept.users),
        ("active", swept.active),
        ("active, and no source has said anything about them", swept.orphans.len()),
        ("of these, to be deactivated", swept.orphans_due),
        ("not as the ledger says", swept.drifted),
        ("of these, the repair takes a role or access", swept.losing_access),
        ("of these, active though a source says inactive", swept.inactive_but_active),
        ("of these, left so, since somebody else sets them anew", swept.contested.len()),
        ("active, and idle for as long as --idle says", swept.idle.len()),
        ("described in part by the list", swept.unclear),
        ("people whose Flex user is gone", swept.missing),
        ("repairs queued", swept.queued),
    ];
    for (what, count) in rows {
        say(&format!("{count:>8}  {what}"))?;
    }
    for (what, users) in [("orphan", &swept.orphans), ("contested", &swept.contested), ("idle", &swept.idle)] {
        for user in users.iter().filter(|_| options.names) {
            say(&format!("{what:<9}  {user}"))?;
        }
    }
    if options.deactivate_idle && !options.dry_run {
        deactivate(operator, &swept, options.limit).await?;
    }
    if !options.dry_run {
        operator.trail.allowed("sweep_users", None, &format!("{} repairs", swept.queued));
    }
    Ok(ExitCode::SUCCESS)
}

/// Deactivates the idle users one by one. If there are more idle users than `limit` allows, fails without deactivating
/// anybody.
async fn deactivate(operator: &Operator, swept: &Swept, limit: Option<usize>) -> Result<(), Box<dyn Error>> {
    let limit = limit.unwrap_or(most_losing_access(swept.users));
    if swept.idle.len() > limit {
        return Err(
            format!("{} idle users are more than --limit {limit}: nobody was deactivated", swept.idle.len()).into()
        );
    }
    let (flex, cause, mut failed) = (operator.flex(), operator.cause(), 0);
    let ledger = operator.ledger(operator.flex());
    for sid in &swept.idle {
        let user = flex.get(sid, deadline()).await?;
        if user.roles.as_ref().is_none_or(|roles| roles.known().contains(&Role::Admin)) {
            remark(&format!("{sid} is an administrator, or Twilio does not show its roles: left alone"));
            continue;
        }
        let leaves = News::end(Source::Operator, user, operator.clock_rng().now(), &cause);
        match ledger.state(&leaves, deadline()).await {
            Ok(_) => {
                operator.trail.allowed("deprovision", Some(sid), "deprovisioned: idle");
                say(&format!("deactivated {sid}, idle"))?;
            }
            Err(error) => {
                failed += 1;
                operator.trail.refused("deprovision", Some(sid), &reason(&error));
                remark(&format!("{sid}: {}", reason(&error)));
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} idle users could not be deactivated").into()) }
}
