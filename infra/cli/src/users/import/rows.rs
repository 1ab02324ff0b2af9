//! Reads and checks the whole CSV file before any row is sent.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate::domain::policy::Policy;
use flexgate::domain::{DesiredUser, Role, RoleSet, UsernameKey};
use ring::digest;

use super::header::{self, Columns};
use super::text::{self, Lines};
use crate::terminal::remark;
use crate::users::cells;

/// The maximum number of mistakes that the error message lists. For further mistakes, it only states their number.
const SHOWN: usize = 50;

/// The prefix of Flex's roles for workforce optimization. An export contains these roles, but Flexgate cannot give or
/// remove them.
const WFO: &str = "wfo.";

/// A valid row, ready to be sent.
#[derive(Debug)]
pub(super) struct Row {
    /// The line number at which the row begins.
    pub(super) line: u64,
    pub(super) desired: DesiredUser,
    /// The key of the row, which is a hash. Equal rows have equal keys, even in different files. The key reveals
    /// nothing about the person.
    pub(super) key: String,
    /// The other rows that have this row's username in another spelling, such as `grace` and `Grace`. To Flexgate they
    /// are one person, but to Twilio they are two users. So the import sends none of these rows, and only compares them
    /// with Flex.
    pub(super) alike: Vec<DesiredUser>,
}

impl Row {
    /// Returns `None` if the import may send the row. Otherwise the import only compares the row with Flex. If the row
    /// and Flex differ, the import prints the error message that this function returns.
    pub(super) fn only_compared(&self) -> Option<&'static str> {
        if !self.alike.is_empty() {
            Some(
                "another row has this username in another spelling, and Flex has something else: change this user in the \
                 Flex console",
            )
        } else if self.desired.roles.is_empty() {
            // The row names only roles that Flexgate cannot give. If the row were sent without roles, a new user would
            // get the default roles.
            Some(
                "Flexgate cannot give the roles of this row, and Flex has something else: change this user in the Flex console",
            )
        } else {
            None
        }
    }
}

/// The rows of a file, and warnings about them.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) rows: Vec<Row>,
    warnings: Vec<String>,
    /// The line numbers of rows with a role that Flexgate cannot give.
    beyond: Vec<u64>,
}

/// Why a file is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// The whole file is unreadable. The text is one line with the reason and advice.
    Whole(String),
    /// Some rows have mistakes. Each text is one mistake, with its line number.
    Rows(Vec<String>),
}

/// Reads the file. If rows have mistakes, the error lists them with their line numbers, but at most `SHOWN` of them.
pub(super) fn read(path: &Path, policy: &Policy) -> Result<Vec<Row>, Box<dyn Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match parse(&bytes, policy) {
        Ok(parsed) => {
            parsed.warnings.iter().for_each(|warning| remark(&format!("{}: {warning}", path.display())));
            Ok(parsed.rows)
        }
        Err(Refused::Whole(cause)) => Err(format!("{}: {cause}", path.display()).into()),
        Err(Refused::Rows(mistakes)) => {
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

pub(super) fn parse(bytes: &[u8], policy: &Policy) -> Result<Parsed, Refused> {
    let text = text::decoded(bytes).map_err(Refused::Whole)?;
    let (named, rest) = header::separator(&text).map_err(Refused::Whole)?;
    let delimiter = named.unwrap_or_else(|| header::delimiter(rest));
    let (before, mut lines) = (text.len() - rest.len(), Lines::of(text.as_bytes()));
    let (mut columns, mut parsed, mut mistakes) = (None, Parsed::default(), Vec::new());
    // For each username, the indices of its rows in `parsed.rows`.
    let mut seen: HashMap<UsernameKey, Vec<usize>> = HashMap::new();
    for record in header::records(rest, delimiter).into_records() {
        // This error cannot occur, because the text is UTF-8 and the reader allows rows of different lengths.
        let record = record.map_err(|error| Refused::Whole(error.to_string()))?;
        if header::blank(&record) {
            continue;
        }
        let at = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default();
        let line = lines.of_record(before + at);
        let Some(columns) = &columns else {
            columns = Some(Columns::of(&record, delimiter, line).map_err(Refused::Whole)?);
            continue;
        };
        let cells = columns.cells(&record).map_err(|mistake| vec![mistake]);
        if cells.as_ref().is_ok_and(|[.., roles]| names(roles).any(|name| name.starts_with(WFO))) {
            parsed.beyond.push(line);
        }
        match cells.and_then(|cells| row(line, cells, policy)) {
            Ok(row) => {
                let others = seen.entry(row.desired.username.key()).or_default();
                match parsed.add(row, others) {
                    Ok(()) => others.push(parsed.rows.len() - 1),
                    Err(mistake) => mistakes.push(mistake),
                }
            }
            Err(found) => mistakes.extend(found.into_iter().map(|mistake| format!("line {line}: {mistake}"))),
        }
    }
    if parsed.rows.is_empty() && mistakes.is_empty() {
        return Err(Refused::Whole("there is no row below the header".to_owned()));
    }
    if let Some((first, more)) = parsed.beyond.split_first() {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        parsed.warnings.push(format!(
            "line {first}{more}: Flexgate cannot give roles that begin with {WFO}, so these roles stay as Flex shows them"
        ));
    }
    if mistakes.is_empty() { Ok(parsed) } else { Err(Refused::Rows(mistakes)) }
}

impl Parsed {
    /// Adds a row. `others` are the indices of earlier rows with the same username, in any spelling.
    fn add(&mut self, mut row: Row, others: &[usize]) -> Result<(), String> {
        let line = row.line;
        if let Some(same) = others.iter().find(|at| self.rows[**at].desired.username == row.desired.username) {
            return Err(format!("line {line}: username: the same as in line {}", self.rows[*same].line));
        }
        if let Some(first) = others.first() {
            self.warnings.push(format!(
                "lines {} and {line}: the usernames differ only in spelling. Flexgate takes them for one person, so these \
                 rows are compared with Flex and not sent",
                self.rows[*first].line
            ));
        }
        for at in others {
            let other = &mut self.rows[*at];
            row.alike.push(other.desired.clone());
            other.alike.push(row.desired.clone());
        }
        self.rows.push(row);
        Ok(())
    }
}

fn row(line: u64, cells: [&str; 4], policy: &Policy) -> Result<Row, Vec<String>> {
    let mut mistakes = Vec::new();
    let [username, email, full_name, roles] = cells.map(cells::read);
    let roles = match role_set(roles, policy) {
        Ok(roles) => Some(roles),
        Err(mistake) => {
            mistakes.push(format!("roles: {mistake}"));
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
    Ok(Row { line, key: key(&desired), desired, alike: Vec::new() })
}

/// Returns the roles in a cell, without those that Flexgate cannot give.
fn role_set(cell: &str, policy: &Policy) -> Result<RoleSet, String> {
    let roles: Option<RoleSet> = names(cell)
        .filter(|name| !name.starts_with(WFO))
        .map(|name| name.to_ascii_lowercase().parse::<Role>().ok())
        .collect();
    let roles = roles.filter(|_| names(cell).next().is_some());
    let roles = roles.ok_or("must be at least one of agent, supervisor and admin, with ; between them")?;
    match policy.forbidden_role(&roles) {
        None => Ok(roles),
        Some(role) => Err(format!("{role} is not among FLEXGATE_ALLOWED_ROLES")),
    }
}

/// Returns the role names in a cell, separated by `;` or `,`. In a file with the delimiter `;`, people use `,`.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([';', ',']).map(str::trim).filter(|name| !name.is_empty())
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

#[cfg(test)]
mod tests {
    use flexgate::domain::policy::JustInTime;
    use flexgate::domain::{FullName, TokenTtl, Username};
    use proptest::prelude::*;

    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Vec<Row>, Vec<String>> {
        let policy = Policy {
            allowed_roles: [Role::Agent, Role::Supervisor].into(),
            default_roles: RoleSet::new(),
            just_in_time: JustInTime::Off,
            max_ttl: TokenTtl::MAX,
        };
        match parse(bytes, &policy) {
            Ok(parsed) => Ok(parsed.rows),
            Err(Refused::Whole(cause)) => Err(vec![cause]),
            Err(Refused::Rows(mistakes)) => Err(mistakes),
        }
    }

    /// Returns the line number and the user of each row.
    fn users(bytes: &[u8]) -> Vec<(u64, DesiredUser)> {
        parsed(bytes).unwrap().into_iter().map(|row| (row.line, row.desired)).collect()
    }

    #[test]
    fn r72_every_spelling_of_a_table_gives_the_same_rows() {
        const TABLE: &str = "username,email,full_name,roles\n\
            ada,ada@example.com,\"Lovelace, Ada; Jos\u{e9}\",agent;supervisor\n\
            grace,grace@example.com,Grace \u{1f600},agent\n";
        let expected = users(TABLE.as_bytes());
        assert_eq!(expected.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
        let written = |delimiter: u8, line_break: csv::Terminator| {
            let mut writer =
                csv::WriterBuilder::new().delimiter(delimiter).terminator(line_break).from_writer(Vec::new());
            for record in header::records(TABLE, b',').records() {
                writer.write_record(&record.unwrap()).unwrap();
            }
            String::from_utf8(writer.into_inner().unwrap()).unwrap()
        };
        for line_break in [csv::Terminator::CRLF, csv::Terminator::Any(b'\n'), csv::Terminator::Any(b'\r')] {
            for delimiter in *b",;\t" {
                let text = written(delimiter, line_break);
                let marked = format!("\u{feff}{text}");
                let bytes_of = |bytes: fn(u16) -> [u8; 2]| marked.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
                for file in
                    [text.as_bytes(), marked.as_bytes(), &bytes_of(u16::to_le_bytes), &bytes_of(u16::to_be_bytes)]
                {
                    assert_eq!(users(file), expected, "{delimiter} {line_break:?}");
                }
            }
        }
    }

    #[test]
    fn r72_rows_of_separators_and_columns_without_a_name_are_skipped_and_lines_are_those_of_the_file() {
        let file = b"sep=;\r\n\r\n;;;;;\r\n\
            User name;E-mail;Full name;Role(s);;\r\n\
            ;;;;;\r\n   \r\n\
            ada;ada@example.com;Ada;Agent, supervisor\r\n\r\n\
            grace;grace@example.com;Grace;\"agent;supervisor\";;\r\n;;;\r\n";
        let users = users(file);
        assert_eq!(users.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [7, 9]);
        assert!(users.iter().all(|(_, user)| user.roles == [Role::Agent, Role::Supervisor].into()), "{users:?}");
    }

    #[test]
    fn r72_a_row_that_does_not_fit_the_header_is_named_with_the_remedy() {
        for (row, said) in [
            (
                "ada;ada@example.com;Ada;agent;supervisor",
                "it has 5 fields, the header 4: put quotation marks around a cell that contains ;",
            ),
            ("ada;ada@example.com;Ada", "it has 3 fields, the header 4"),
            (
                "ada;\"ada@example.com;Ada;agent\nx;x;x;x",
                "it has 2 fields, the header 4: a quotation mark may not be closed",
            ),
        ] {
            let file = format!("username;email;full_name;roles\n\n{row}\n");
            assert_eq!(parsed(file.as_bytes()).unwrap_err(), [format!("line 3: {said}")]);
        }
        let file = b"username,,email,full_name,roles\nada,,ada@example.com,Ada,agent\nx,what,x@example.com,X,agent\n";
        assert_eq!(parsed(file).unwrap_err(), ["line 3: column 2 has a value, and no name in the header"]);
        for empty in ["username,email,full_name,roles\n,,,\n", "\u{feff}", "\r\n,,\r\n", "sep=;"] {
            assert_eq!(parsed(empty.as_bytes()).unwrap_err(), ["there is no row below the header"], "{empty:?}");
        }
    }

    proptest! {
        #[test]
        fn r72_whatever_the_file_is_each_mistake_is_one_line(
            bytes in prop_oneof![
                "(sep=.?\n)?[\u{feff}username,;\t\"|'=\r\n @\u{e9}\\[\\{<-]{0,80}".prop_map(String::into_bytes),
                "username,email,full_name,roles\n[ab,;\"\r\n @\u{1b}\u{202e}]{0,80}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..80),
                "[a,;\n\u{1f600}]{0,40}".prop_map(|text| {
                    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect()
                }),
            ]
        ) {
            for mistake in parsed(&bytes).err().unwrap_or_default() {
                prop_assert!(!mistake.contains(char::is_control), "{mistake:?}");
            }
        }

        #[test]
        fn r72_a_name_comes_back_from_every_spreadsheet(
            username in "['=+@-]{0,2}[\\PC,;\"']{1,12}", full_name in "['=+@-]{0,2}[\\PC,;\"' ]{1,12}",
            delimiter in prop::sample::select(b",;\t".to_vec()), is_utf_16 in any::<bool>(),
        ) {
            let (name, full) = (username.parse::<Username>(), full_name.parse::<FullName>());
            prop_assume!(name.is_ok() && full.is_ok());
            let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
            writer.write_record(cells::COLUMNS).unwrap();
            let cells = [username.as_str(), "a@example.com", &full_name, "agent;supervisor"].map(cells::written);
            writer.write_record(cells.iter().map(AsRef::as_ref)).unwrap();
            let mut file = writer.into_inner().unwrap();
            if is_utf_16 {
                let text = String::from_utf8(file).unwrap();
                file = "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            }
            let users = users(&file);
            prop_assert_eq!(users.len(), 1);
            prop_assert_eq!(Ok(users[0].1.username.clone()), name);
            prop_assert_eq!(Ok(users[0].1.full_name.clone()), full);
        }
    }
}
