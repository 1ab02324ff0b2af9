//! Shows what an import would change. It reads the ledger and Flex for every row, and writes nothing.

use std::collections::HashSet;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use flexgate::domain::ledger::{Plan, Source, Step};
use flexgate::domain::{EventId, FlexUser};
use flexgate::twilio::Flex;
use flexgate::users::ledger::{Ledger, News, Preview};
use serde::Serialize;

use super::attempts::{Attempt, each, patiently};
use super::compare::{is_in_flex, other_spelling};
use super::pace::Pace;
use super::progress::Progress;
use super::rows::Row;
use crate::operator::{Operator, deadline};
use crate::terminal::{harmless, remark, say};
use crate::users::outcome::blocked;

/// The maximum width of a column. A longer value moves the next column to the right.
const WIDEST: usize = 40;

/// What an import would do with one row.
#[derive(Debug, Serialize)]
struct Shown {
    /// The line of the file.
    line: u64,
    username: String,
    /// Flex's spelling of the username, if the row spells it differently.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_as: Option<String>,
    result: Becomes,
    /// Why the row would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Becomes {
    New,
    Changed,
    Unchanged,
    Refused,
    /// An earlier import of the file has finished the row.
    FinishedBefore,
}

/// A field that would change.
#[derive(Debug, Serialize)]
struct Change {
    field: &'static str,
    /// `None` if the user is new.
    now: Option<String>,
    then: String,
}

/// Shows what an import of these rows would change. `done` contains the keys of rows that an earlier import finished.
pub(super) async fn run(
    operator: &Operator,
    rows: Vec<Row>,
    done: &HashSet<String>,
    most: usize,
    json: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let (finished, left): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| done.contains(&row.key));
    let mut shown: Vec<Shown> = finished.iter().map(|row| Shown::of(row, Becomes::FinishedBefore)).collect();
    let progress = Progress::start(finished.len() + left.len(), finished.len());
    let ledger = Arc::new(operator.ledger(operator.flex().asking_once()));
    let flex = Arc::new(operator.flex().asking_once());
    let pace = Arc::new(Pace::new(most, operator.clock_rng().clone()));
    let cause = operator.cause();
    let work = |row, pace| one(row, ledger.clone(), flex.clone(), cause.clone(), pace);
    let mut refused = 0;
    let halted = each(left.into(), &pace, work, |row, ended| {
        let one = match ended {
            Ok(None) => Shown::of(row, Becomes::Unchanged),
            Ok(Some(preview)) => Shown::previewed(row, preview),
            Err(reason) => Shown { reason: Some(reason), ..Shown::of(row, Becomes::Refused) },
        };
        refused += usize::from(one.result == Becomes::Refused);
        shown.push(one);
        progress.step(refused, pace.limit());
        Ok(())
    })
    .await;
    progress.finish();
    if let Some(reason) = halted? {
        return Err(format!("{reason}; nothing was sent").into());
    }
    shown.sort_by_key(|one| one.line);
    print(&shown, json)?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finds out what an import of the row would change. Some rows are never sent, but only compared with Flex. For such a
/// row, returns `None` if Flex already has the row's values.
async fn one(
    row: Row,
    ledger: Arc<Ledger>,
    flex: Arc<Flex>,
    cause: EventId,
    pace: Arc<Pace>,
) -> (Row, Attempt<Option<Preview>>) {
    let (desired, ledger, flex, cause, pace) = (&row.desired, &*ledger, &*flex, &cause, &*pace);
    let only_compared = row.only_compared();
    let attempt = || async move {
        if let Some(differs) = only_compared {
            let same = is_in_flex(desired, flex).await?;
            return Ok(if same { Attempt::Done(None) } else { Attempt::Failed(differs.to_owned()) });
        }
        let news = News::user(Source::Operator, desired.clone(), pace.now(), cause);
        Ok(Attempt::Done(Some(ledger.preview(&news, deadline()).await?)))
    };
    let outcome = patiently(pace, attempt).await;
    (row, outcome)
}

impl Shown {
    fn of(row: &Row, result: Becomes) -> Self {
        let username = row.desired.username.to_string();
        Self { line: row.line, username, known_as: None, result, reason: None, changes: Vec::new() }
    }

    fn previewed(row: &Row, preview: Preview) -> Self {
        let known_as = preview.known_as.filter(|name| *name != row.desired.username);
        let reason = blocked(&preview.plan.blocked);
        let changes = changes(preview.user.as_ref(), &preview.plan);
        let result = match (&reason, &preview.user, changes.is_empty()) {
            (Some(_), ..) => Becomes::Refused,
            (None, _, true) => Becomes::Unchanged,
            (None, None, false) => Becomes::New,
            (None, Some(_), false) => Becomes::Changed,
        };
        Self { known_as: known_as.map(|name| name.to_string()), reason, changes, ..Self::of(row, result) }
    }

    /// Returns the row's lines in the table. The cells are: line number, username, field or result, value in Flex, new
    /// value.
    fn cells(&self) -> Vec<[String; 5]> {
        let cells = |field: &str, now: &str, then: &str| {
            [self.line.to_string(), self.username.clone(), field.to_owned(), now.to_owned(), then.to_owned()]
        };
        let changes = || self.changes.iter();
        let mut lines: Vec<_> = match self.result {
            Becomes::Unchanged => vec![cells("unchanged", "", "")],
            Becomes::FinishedBefore => vec![cells("finished before", "", "")],
            Becomes::New => {
                let values: Vec<&str> = changes().map(|change| change.then.as_str()).collect();
                vec![cells("new", "", &values.join(", "))]
            }
            Becomes::Changed | Becomes::Refused => changes()
                .map(|change| cells(change.field, change.now.as_deref().unwrap_or_default(), &change.then))
                .collect(),
        };
        lines.extend(self.reason.iter().map(|reason| cells("refused", reason, "")));
        lines
    }
}

/// The fields that the plan changes.
fn changes(user: Option<&FlexUser>, plan: &Plan) -> Vec<Change> {
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let mut changes = Vec::new();
    let mut change = |field: &'static str, now: Option<String>, then: &str| {
        if now.as_deref() != Some(then) {
            changes.push(Change { field, now, then: then.to_owned() });
        }
    };
    match &plan.step {
        Step::Nothing => {}
        Step::UpdateEmail(email) => change("email", user.map(|user| text(user.email.as_ref())), email.as_str()),
        Step::Deprovision => change("state", Some("active".to_owned()), "deactivated"),
        Step::Provision(wanted) => {
            let now = user.and_then(|user| user.roles.as_ref()).map(|roles| roles.names().join(";"));
            let then: Vec<&str> = wanted.roles.iter().map(|role| role.as_str()).collect();
            change("email", user.map(|user| text(user.email.as_ref())), wanted.email.as_str());
            change("full_name", user.map(|user| text(user.full_name.as_ref())), wanted.full_name.as_str());
            change("roles", user.map(|_| now.unwrap_or_default()), &then.join(";"));
            if user.is_some_and(FlexUser::is_deactivated) {
                change("state", Some("deactivated".to_owned()), "active");
            }
            if wanted.worker_attributes.is_some() {
                change("attributes", user.map(|_| "as they are".to_owned()), "as the sources say");
            }
        }
    }
    if let Some(locale) = &plan.locale {
        change("locale", user.map(|user| text(user.locale.as_ref())), locale);
    }
    changes
}

fn print(shown: &[Shown], json: bool) -> Result<(), Box<dyn Error>> {
    for one in shown {
        if let Some(known_as) = &one.known_as {
            remark(&other_spelling(one.line, &one.username, known_as));
        }
    }
    let count = |result: Becomes| shown.iter().filter(|one| one.result == result).count();
    let summary = format!(
        "{} new, {} changed, {} unchanged, {} refused, {} finished before; nothing was sent",
        count(Becomes::New),
        count(Becomes::Changed),
        count(Becomes::Unchanged),
        count(Becomes::Refused),
        count(Becomes::FinishedBefore)
    );
    if json {
        for one in shown {
            say(&serde_json::to_string(one)?)?;
        }
        remark(&summary);
        return Ok(());
    }
    let title = ["line", "username", "field", "now", "then"].map(str::to_owned);
    let lines = std::iter::once(title).chain(shown.iter().flat_map(Shown::cells));
    let lines: Vec<[String; 5]> = lines.map(|cells| cells.map(|cell| harmless(&cell))).collect();
    // Refused rows do not count for the widths, because they contain a whole sentence.
    let columns = lines.iter().filter(|cells| cells[2] != "refused");
    let mut width = [0; 5];
    for cells in columns {
        for (width, cell) in width.iter_mut().zip(cells) {
            *width = cell.chars().count().min(WIDEST).max(*width);
        }
    }
    for cells in &lines {
        let [line, username, field, now, then] = cells;
        let text = format!(
            "{line:>0$}  {username:<1$}  {field:<2$}  {now:<3$}  {then}",
            width[0], width[1], width[2], width[3]
        );
        say(text.trim_end())?;
    }
    Ok(say(&summary)?)
}
