//! Reads the delimiter and the header of a CSV file.

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use crate::terminal::harmless;
use crate::users::cells::COLUMNS;

/// The delimiters that spreadsheet programs write.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// Other names for each column in [`COLUMNS`], as [`folded`] returns them.
const SYNONYMS: [&[&str]; 4] =
    [&["user", "login", "loginname"], &["mail", "emailaddress", "mailaddress"], &["name", "displayname"], &["role"]];

/// The maximum number of characters of the header that an error message shows.
const SHOWN: usize = 120;

/// The position of each column.
#[derive(Debug)]
pub(super) struct Columns {
    places: [usize; 4],
    /// The number of columns in the header, without empty ones at the end.
    width: usize,
    /// Columns without a name in the header. Their cells must be empty.
    unnamed: Vec<usize>,
    delimiter: u8,
}

/// Reads the first line of a file if it has the form `sep=;`, with which Excel names the delimiter. Returns the
/// delimiter and the text after this line. Without such a line, returns `None` and the whole text.
pub(super) fn separator(text: &str) -> Result<(Option<u8>, &str), String> {
    let (line, rest) = text.split_once(['\r', '\n']).unwrap_or((text, ""));
    let unquoted = line.trim_matches(['"', ' ']);
    let Some((_, named)) = unquoted.split_once('=').filter(|(word, _)| word.trim_end().eq_ignore_ascii_case("sep"))
    else {
        return Ok((None, text));
    };
    // Another program may have treated this line as a row, and added delimiters at its end.
    let is_one = |first: u8| named.bytes().all(|byte| byte == first || DELIMITERS.contains(&byte));
    match named.bytes().next() {
        Some(first) if first.is_ascii() && !first.is_ascii_alphanumeric() && first != b'"' && is_one(first) => {
            Ok((Some(first), rest))
        }
        _ => Err("line 1: sep= must name the delimiter, as in sep=; or the line must be removed".to_owned()),
    }
}

/// Guesses the delimiter. Chooses the one that splits the header into the most known column names. If several
/// delimiters give equally many names, chooses the one that gives the most columns.
pub(super) fn delimiter(text: &str) -> u8 {
    let quality = |delimiter: u8| {
        let header = records(text, delimiter).into_records().find_map(|record| record.ok().filter(|one| !blank(one)));
        let header = header.unwrap_or_default();
        (header.iter().filter(|name| column(name).is_some()).count(), header.len())
    };
    // If several delimiters are equally good, `max_by_key` returns the last. So reverse the list to prefer the comma.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| quality(*delimiter)).unwrap_or(b',')
}

/// Returns a reader for the records of the text. The first record is the header.
pub(super) fn records(text: &str, delimiter: u8) -> Reader<&[u8]> {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).trim(Trim::All).flexible(true).has_headers(false);
    builder.from_reader(text.as_bytes())
}

/// Whether the row contains only spaces and delimiters. Any known delimiter counts, even one that this file does not
/// use.
pub(super) fn blank(record: &StringRecord) -> bool {
    record.iter().all(|cell| cell.bytes().all(|byte| byte == b' ' || DELIMITERS.contains(&byte)))
}

/// Returns the number of cells, without empty cells at the end.
fn used(record: &StringRecord) -> usize {
    (0..record.len()).rev().find(|at| !record[*at].is_empty()).map_or(0, |last| last + 1)
}

/// Returns the name in lower case, without spaces and punctuation: `Role(s)` becomes `roles`.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns the index in [`COLUMNS`] of a name or synonym.
fn column(name: &str) -> Option<usize> {
    let name = folded(name);
    COLUMNS.iter().zip(SYNONYMS).position(|(column, others)| folded(column) == name || others.contains(&name.as_str()))
}

impl Columns {
    /// Finds the columns in the header. `line` is the header's line number. The error is one line that names the cause.
    pub(super) fn of(header: &StringRecord, delimiter: u8, line: u64) -> Result<Self, String> {
        let width = used(header);
        let names: Vec<&str> = header.iter().take(width).collect();
        let shown = |at: usize| format!("column {} (\"{}\")", at + 1, harmless(names[at]));
        let mut places: [Option<usize>; 4] = [None; 4];
        let (mut unknown, mut unnamed) = (Vec::new(), Vec::new());
        for (at, name) in names.iter().enumerate() {
            match column(name) {
                Some(place) => {
                    if let Some(first) = places[place].replace(at) {
                        let (first, again, name) = (shown(first), shown(at), COLUMNS[place]);
                        return Err(format!("line {line}: {first} and {again} are both {name}: remove one of them"));
                    }
                }
                None if name.is_empty() => unnamed.push(at),
                // The file of failed rows has this additional column.
                None if folded(name) == "error" => {}
                None => unknown.push(at),
            }
        }
        let missing: Vec<&str> =
            COLUMNS.iter().zip(places).filter(|(_, place)| place.is_none()).map(|(name, _)| *name).collect();
        match (places, unknown.is_empty()) {
            ([Some(username), Some(email), Some(full_name), Some(roles)], true) => {
                Ok(Self { places: [username, email, full_name, roles], width, unnamed, delimiter })
            }
            ([Some(_), Some(_), Some(_), Some(_)], false) => {
                let unknown: Vec<String> = unknown.into_iter().map(shown).collect();
                Err(format!(
                    "line {line}: {} is none of {} (and error, which is ignored): remove what import cannot use",
                    unknown.join(", "),
                    COLUMNS.join(",")
                ))
            }
            _ => {
                let cause = cause(&names, &unknown.into_iter().map(shown).collect::<Vec<_>>());
                let (noun, verb) = if missing.len() == 1 { ("column", "is") } else { ("columns", "are") };
                let mut found = harmless(&names.join(&char::from(delimiter).to_string()));
                if let Some((end, _)) = found.char_indices().nth(SHOWN) {
                    found.truncate(end);
                    found.push('…');
                }
                let missing = missing.join(", ");
                Err(format!("line {line}: the {noun} {missing} {verb} missing; the header is \"{found}\": {cause}"))
            }
        }
    }

    /// Returns the cells of a row in the order of [`COLUMNS`].
    pub(super) fn cells<'a>(&self, record: &'a StringRecord) -> Result<[&'a str; 4], String> {
        let last = self.places.iter().max().copied().unwrap_or_default();
        let used = used(record);
        if used > self.width {
            let delimiter = named(self.delimiter);
            return Err(format!(
                "it has {used} fields, the header {}: put quotation marks around a cell that contains {delimiter}",
                self.width
            ));
        }
        // Excel omits empty cells at the end of some rows. So a row may be shorter than the header, but it must reach
        // the last known column.
        if record.len() <= last {
            let swallowed = record.iter().any(|cell| cell.contains(['\r', '\n']));
            let hint = if swallowed { ": a quotation mark may not be closed" } else { "" };
            return Err(format!("it has {} fields, the header {}{hint}", record.len(), self.width));
        }
        match self.unnamed.iter().find(|at| record.get(**at).is_some_and(|cell| !cell.is_empty())) {
            Some(at) => Err(format!("column {} has a value, and no name in the header", at + 1)),
            None => Ok(self.places.map(|place| record.get(place).unwrap_or_default())),
        }
    }
}

/// Returns the probable reason for missing columns.
fn cause(names: &[&str], unknown: &[String]) -> String {
    let has = |parts: &[&str]| names.iter().any(|name| parts.contains(&folded(name).as_str()));
    if names.iter().any(|name| name.contains('@')) {
        "the first line must name the columns, and this looks like a row".to_owned()
    } else if names.len() == 1 {
        "this is only one column; the delimiter must be a comma, a semicolon or a tab".to_owned()
    } else if has(&["firstname", "givenname"]) && has(&["lastname", "familyname", "surname"]) {
        "put the first and the last name into one column full_name".to_owned()
    } else if unknown.is_empty() {
        format!("add what is missing; the columns are {}", COLUMNS.join(","))
    } else {
        format!("{} is not known; the columns are {}", unknown.join(", "), COLUMNS.join(","))
    }
}

fn named(delimiter: u8) -> String {
    if delimiter == b'\t' { "a tab".to_owned() } else { char::from(delimiter).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Columns, String> {
        let (named, rest) = separator(text)?;
        let delimiter = named.unwrap_or_else(|| delimiter(rest));
        let header = records(rest, delimiter).into_records().next().unwrap().unwrap();
        Columns::of(&header, delimiter, 1)
    }

    #[test]
    fn r72_the_delimiter_is_recognised_outside_quotes_or_named_by_the_file() {
        for (text, delimiter) in [
            ("username,email,full_name,roles\n", b','),
            ("username;email;full_name;roles\r\n", b';'),
            ("username\temail\tfull_name\troles\r", b'\t'),
            ("\"user;,name\"\t\"E-mail;;;;\"\tname\troles\n", b'\t'),
            ("\n;;;\nUser name;\"E-mail\";\"Full name\";\"Role(s)\";;\n", b';'),
        ] {
            assert_eq!(super::delimiter(text), delimiter, "{text}");
        }
        for (text, found) in [
            ("sep=;\r\nrest", Ok((Some(b';'), "\nrest"))),
            ("\"SEP=\t\"\nrest", Ok((Some(b'\t'), "rest"))),
            ("sep=|\nrest", Ok((Some(b'|'), "rest"))),
            ("sep=,,,,\nrest", Ok((Some(b','), "rest"))),
            ("separator,b\nrest", Ok((None, "separator,b\nrest"))),
        ] {
            assert_eq!(separator(text), found, "{text}");
        }
        for text in ["sep=\nrest", "sep=ab\nrest", "sep=\u{2502}\nrest"] {
            assert!(separator(text).unwrap_err().starts_with("line 1: sep= must name"), "{text}");
        }
    }

    #[test]
    fn r72_column_names_are_recognised_in_every_usual_spelling() {
        for text in [
            "USERNAME, E-Mail ,Full name,Role(s)",
            "user-name;email_address;FULL-NAME;role",
            "sep=;\nUser Name;E-mail address;Display name;Roles;;;",
            "roles\tName\tmail\tlogin\t\t\terror",
        ] {
            assert!(of(text).is_ok(), "{text}: {}", of(text).unwrap_err());
        }
    }

    #[test]
    fn r72_a_header_that_cannot_be_used_is_one_line_with_the_cause() {
        for (text, parts) in [
            (
                "username|email|full_name|roles",
                ["username, email, full_name, roles are missing", "a comma, a semicolon or a tab"],
            ),
            ("username,email", ["the columns full_name, roles are missing", "the header is \"username,email\""]),
            (
                "username,address,full_name,roles",
                ["the column email is missing", "column 2 (\"address\") is not known"],
            ),
            ("ada,ada@example.com,Ada,agent", ["are missing", "this looks like a row"]),
            ("username,email,First name,Surname,roles", ["full_name is missing", "into one column full_name"]),
            ("username,email,full_name,roles,active", ["column 5 (\"active\") is none of", "remove"]),
            (
                "username,E-mail,mail,full_name,roles",
                ["column 2 (\"E-mail\") and column 3 (\"mail\") are both email", "remove"],
            ),
            ("sep=,\nusername;email;full_name;roles", ["are missing", "a comma, a semicolon or a tab"]),
            (&format!("{},b", "\u{1b}x".repeat(500)), ["\u{fffd}x", "…"]),
        ] {
            let said = of(text).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)), "{text}: {said}");
            assert!(!said.contains(char::is_control) && said.chars().count() < 1_500, "{said}");
        }
    }
}
