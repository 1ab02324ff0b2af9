//! `flexgate users explain`: explains why a user is active or inactive, and has or lacks each role.

use std::error::Error;

use clap::Args;
use flexgate::users::ledger::{Explained, ExplainedRole};

use crate::operator::Operator;
use crate::terminal::{harmless, say};

/// The user to explain.
#[derive(Debug, Args)]
pub struct Explain {
    /// The username, or the SID (FU…)
    user: String,
    /// Print the JSON document that GET /users/{sid}/explain returns
    #[arg(long)]
    json: bool,
}

/// Explains the user.
pub async fn run(operator: &Operator, options: &Explain) -> Result<(), Box<dyn Error>> {
    let user = operator.user(&options.user).await?;
    let explained = operator.ledger(operator.flex()).explain(&user).await?;
    operator.trail.allowed("explain_user", Some(&user.flex_user_sid), "read");
    if options.json {
        return Ok(say(&serde_json::to_string_pretty(&explained)?)?);
    }
    for line in lines(&explained) {
        say(&harmless(&line))?;
    }
    Ok(())
}

fn lines(explained: &Explained) -> Vec<String> {
    let mut lines = Vec::new();
    if explained.sources.is_empty() {
        return vec![
            "No source has said anything about this user. Flexgate leaves them as Flex shows them.".to_owned(),
        ];
    }
    lines.push(match (explained.active, explained.inactive_by.is_empty()) {
        (true, _) if explained.active_by.is_empty() => "Active, as Flex shows: no source says whether.".to_owned(),
        (true, _) => format!("Active: {} says so.", explained.active_by.join(", ")),
        (false, false) => format!("Inactive: {} says so. One source is enough.", explained.inactive_by.join(", ")),
        (false, true) => "Inactive, as Flex shows: no source says whether.".to_owned(),
    });
    lines.extend(explained.roles.iter().map(role));
    for field in &explained.fields {
        let from = match (field.reason, &field.by) {
            (_, Some(by)) => format!("as {by} says"),
            ("username", None) => "the username, since no source says it".to_owned(),
            _ => "as Flex shows it, since no source says it".to_owned(),
        };
        lines.push(format!("{}: {from}.", field.field));
    }
    if !explained.in_step {
        lines.push("Flex does not show this yet. The next job, sweep or change repairs it.".to_owned());
    }
    for source in &explained.sources {
        let mut says = Vec::new();
        says.extend(source.active.map(|active| if active { "active" } else { "inactive" }.to_owned()));
        says.extend((source.memberships > 0).then(|| format!("{} memberships", source.memberships)));
        says.extend(source.roles.as_ref().map(|roles| match roles.join(", ") {
            none if none.is_empty() => "no roles".to_owned(),
            roles => format!("the roles {roles}"),
        }));
        says.extend(source.fields.iter().map(|field| (*field).to_owned()));
        let says = if says.is_empty() { "nothing any more".to_owned() } else { says.join("; ") };
        let at = source.at.as_deref().unwrap_or("an unknown time");
        lines.push(format!("{} (last at {at}) says: {says}.", source.source));
    }
    lines
}

fn role(role: &ExplainedRole) -> String {
    let by = role.by.join(", ");
    let why = match role.reason {
        "stated" => format!("yes, {by} says so"),
        "default" => "yes, by default: no source names a role".to_owned(),
        "made_by_hand" => "yes, made by hand in Flex, and left alone".to_owned(),
        "unspellable" => {
            "yes, Flex shows it. Flexgate cannot give it, so nothing is sent that would lose it".to_owned()
        }
        "taken_back" => "no, Flexgate gave it, and no source names it any more".to_owned(),
        "forbidden" if by.is_empty() => "no, FLEXGATE_ALLOWED_ROLES does not list it".to_owned(),
        "forbidden" => format!("no, {by} names it, and FLEXGATE_ALLOWED_ROLES does not list it"),
        "unknown" => format!("no, {by} names it, and Flex has no such role"),
        "claims_only" => format!("no, {by} names it, and a token adds a role only while its bearer mints"),
        "not_restored" => "no, Flexgate cannot give it back to somebody who was deactivated".to_owned(),
        "previous_owner" => "no, it belonged to whoever had the username before".to_owned(),
        other => other.to_owned(),
    };
    format!("Role {}: {why}.", role.role)
}
