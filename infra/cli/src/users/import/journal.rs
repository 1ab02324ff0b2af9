//! The journal of an import: a file with a line for each finished row, without personal data. If the import is killed,
//! the next import skips these rows.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::rows::Row;

const TITLE: &str = "flexgate import journal 1";

/// The open journal. A lock keeps two imports from sending the same rows.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    done: HashSet<String>,
}

impl Journal {
    pub(super) fn open(path: &Path, instance: &str) -> Result<Self, Box<dyn Error>> {
        let named = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut options = File::options();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{}: another import is using it", path.display()).into());
            }
            Err(TryLockError::Error(error)) => return Err(named(error).into()),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(named)?;
        let done = parse(&text, instance).ok_or_else(|| other(path))?;
        if text.is_empty() {
            file.write_all(format!("{TITLE} {instance}\n").as_bytes()).map_err(named)?;
        } else if !text.ends_with('\n') {
            // The last line is incomplete, because a process was killed while it wrote the line. End this line, so that
            // the next key gets a line of its own. The row whose key is incomplete counts as unfinished.
            file.write_all(b"\n").map_err(named)?;
        }
        Ok(Self { path: path.to_owned(), file, done })
    }

    pub(super) fn holds(&self, row: &Row) -> bool {
        self.done.contains(&row.key)
    }

    /// Records that the row is finished.
    pub(super) fn note(&mut self, row: &Row) -> std::io::Result<()> {
        // Use a single write, so that the line can be incomplete only if the process is killed during this write.
        self.file.write_all(format!("{}\n", row.key).as_bytes())
    }

    /// Deletes the journal after the last row, so that the next import of the file starts from the beginning.
    pub(super) fn remove(self) -> std::io::Result<()> {
        std::fs::remove_file(self.path)
    }
}

/// The keys of the finished rows. The set is empty without a journal.
pub(super) fn read(path: &Path, instance: &str) -> Result<HashSet<String>, Box<dyn Error>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(parse(&text, instance).ok_or_else(|| other(path))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

fn other(path: &Path) -> String {
    format!("{}: it is no import journal of this Flex instance; choose another file with --state", path.display())
}

/// The keys in the journal's text. `None` if the journal belongs to another Flex instance, or is no journal.
fn parse(text: &str, instance: &str) -> Option<HashSet<String>> {
    if text.is_empty() {
        return Some(HashSet::new());
    }
    let (title, keys) = text.split_once('\n')?;
    let whole = |line: &&str| line.len() == 43;
    (title == format!("{TITLE} {instance}")).then(|| keys.lines().filter(whole).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_not_a_finished_row_and_another_instance_has_another_journal() {
        let whole = "k".repeat(43);
        let text = format!("{TITLE} GO1\n{whole}\n{}", "j".repeat(20));
        assert_eq!(parse(&text, "GO1").unwrap(), HashSet::from([whole]));
        assert!(parse(&text, "GO2").is_none());
        assert!(parse("username,email\n", "GO1").is_none());
        assert!(parse("", "GO1").unwrap().is_empty());
    }
}
