//! Reads the CSV file. The whole file is read and checked before any row is sent.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use csv::{ReaderBuilder, StringRecord, Trim};
use flexgate::domain::policy::Policy;
use flexgate::domain::{DesiredUser, Role, RoleSet, UsernameKey};
use ring::digest;

use crate::terminal::remark;
use crate::users::cells::{self, COLUMNS};

/// The maximum number of mistakes that the error lists. It only counts the others.
const SHOWN: usize = 50;

/// A valid row, ready to be sent.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) desired: DesiredUser,
    /// A hash of the row. Equal rows have the same key, even in different files. The key reveals nothing about the
    /// person.
    pub(super) key: String,
    /// The rows of the file whose username differs from this row's only in spelling, such as `Grace` and `grace`.
    /// Flexgate treats both spellings as one person, but for Twilio they are two users. So the import only compares
    /// such a row with Flex and never sends it.
    pub(super) alike: Vec<DesiredUser>,
}

/// The rows of a file, and warnings about them.
#[derive(Debug, Default)]
struct Parsed {
    rows: Vec<Row>,
    warnings: Vec<String>,
}

/// Reads the file. If it has mistakes, the error lists them by line number.
pub(super) fn read(path: &Path, policy: &Policy) -> Result<Vec<Row>, Box<dyn Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match parse(&bytes, policy) {
        Ok(parsed) => {
            parsed.warnings.iter().for_each(|warning| remark(&format!("{}: {warning}", path.display())));
            Ok(parsed.rows)
        }
        Err(mistakes) => {
            let mut text = format!("{}: nothing was sent; correct this first:", path.display());
            for mistake in mistakes.iter().take(SHOWN) {
                text.push_str("\n  ");
                text.push_str(mistake);
            }
            match mistakes.len().saturating_sub(SHOWN) {
                0 => Err(text.into()),
                more => Err(format!("{text}\n  … and {more} more").into()),
            }
        }
    }
}

fn parse(bytes: &[u8], policy: &Policy) -> Result<Parsed, Vec<String>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().trim(Trim::All).flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(|_| vec!["line 1: the header is not UTF-8 text".to_owned()])?.clone();
    let places = places(&header)?;
    let (mut parsed, mut mistakes) = (Parsed::default(), Vec::new());
    // The rows of each username. A row is given by its line number and its index in `parsed.rows`.
    let mut seen: HashMap<UsernameKey, Vec<(u64, usize)>> = HashMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                mistakes.push(format!("line {line}: it is not UTF-8 text"));
                continue;
            }
        };
        let number = record.position().map_or(0, |position| line(bytes, position));
        if record.len() != header.len() {
            mistakes.push(format!("line {number}: it has {} fields, the header {}", record.len(), header.len()));
            continue;
        }
        match row(&record, places, policy) {
            Ok(mut row) => {
                let username = &row.desired.username;
                let others = seen.entry(username.key()).or_default();
                let same = others.iter().find(|(_, place)| parsed.rows[*place].desired.username == *username);
                if let Some((first, _)) = same {
                    mistakes.push(format!("line {number}: username: the same as in line {first}"));
                    continue;
                }
                if let Some((first, _)) = others.first() {
                    parsed.warnings.push(format!(
                        "lines {first} and {number}: the usernames differ only in spelling. Flexgate takes them for one \
                         person, so these rows are compared with Flex and not sent"
                    ));
                    for (_, place) in others.iter() {
                        let other = &mut parsed.rows[*place];
                        row.alike.push(other.desired.clone());
                        other.alike.push(row.desired.clone());
                    }
                }
                others.push((number, parsed.rows.len()));
                parsed.rows.push(row);
            }
            Err(found) => mistakes.extend(found.into_iter().map(|mistake| format!("line {number}: {mistake}"))),
        }
    }
    if parsed.rows.is_empty() && mistakes.is_empty() {
        mistakes.push("there is no row below the header".to_owned());
    }
    if mistakes.is_empty() { Ok(parsed) } else { Err(mistakes) }
}

/// The line at which the record begins. The reader skips blank lines before a record, but its position does not count
/// them, so this function does.
fn line(bytes: &[u8], position: &csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    position.line() + blank.filter(|byte| **byte == b'\n').count() as u64
}

/// The index of each column in the header.
fn places(header: &StringRecord) -> Result<[usize; 4], Vec<String>> {
    let mut mistakes = Vec::new();
    let known = |name: &str| COLUMNS.contains(&name) || name == "error";
    if let Some(at) = header.iter().position(|name| !known(name)) {
        mistakes.push(format!(
            "line 1: column {} is none of {} (and error, which is ignored)",
            at + 1,
            COLUMNS.join(",")
        ));
    }
    let places = COLUMNS.map(|name| {
        let mut at = header.iter().enumerate().filter(|(_, column)| *column == name).map(|(at, _)| at);
        let first = at.next();
        match (first, at.next()) {
            (Some(first), None) => first,
            (None, _) => {
                mistakes.push(format!("line 1: the column {name} is missing"));
                0
            }
            (Some(_), Some(_)) => {
                mistakes.push(format!("line 1: the column {name} is there twice"));
                0
            }
        }
    });
    if mistakes.is_empty() { Ok(places) } else { Err(mistakes) }
}

fn row(record: &StringRecord, places: [usize; 4], policy: &Policy) -> Result<Row, Vec<String>> {
    let mut mistakes = Vec::new();
    let [username, email, full_name, roles] = places.map(|place| cells::read(record.get(place).unwrap_or_default()));
    let names = roles.split(';').map(str::trim).filter(|name| !name.is_empty());
    let roles: Option<RoleSet> = names.map(|name| name.parse::<Role>().ok()).collect();
    let roles = match roles {
        Some(roles) if !roles.is_empty() => match policy.forbidden_role(&roles) {
            None => Some(roles),
            Some(role) => {
                mistakes.push(format!("roles: {role} is not among FLEXGATE_ALLOWED_ROLES"));
                None
            }
        },
        _ => {
            mistakes.push("roles: must be at least one of agent, supervisor and admin, with ; between them".to_owned());
            None
        }
    };
    let mut name = |column: &str, mistake: String| mistakes.push(format!("{column}: {mistake}"));
    let username = username.parse().map_err(|error: flexgate::domain::NameError| name("username", error.to_string()));
    let email = email.parse().map_err(|error: flexgate::domain::NameError| name("email", error.to_string()));
    let full_name =
        full_name.parse().map_err(|error: flexgate::domain::NameError| name("full_name", error.to_string()));
    let (Some(roles), Ok(username), Ok(email), Ok(full_name)) = (roles, username, email, full_name) else {
        return Err(mistakes);
    };
    let desired = DesiredUser { username, email, full_name, roles, worker_attributes: None };
    Ok(Row { key: key(&desired), desired, alike: Vec::new() })
}

fn key(desired: &DesiredUser) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let roles: Vec<_> = desired.roles.iter().map(|role| role.as_str()).collect();
    let parts = [desired.username.as_str(), desired.email.as_str(), desired.full_name.as_str(), &roles.join(";")];
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}
