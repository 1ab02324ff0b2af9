//! The output file of an export. The file gets its name only when it is complete.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A temporary file that only its owner can read, because it contains personal data.
pub(super) struct Output {
    file: NamedTempFile,
    path: PathBuf,
}

impl Output {
    /// Creates the temporary file. Fails if `path` exists, because an export never overwrites a file.
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        if path.exists() {
            return Err(format!("{} exists already: choose another file with --output", path.display()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(folder).map_err(|error| named(path, &error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Returns a handle that writes to the file.
    pub(super) fn writer(&self) -> Result<File, String> {
        self.file.as_file().try_clone().map_err(|error| named(&self.path, &error))
    }

    /// Moves the complete file to its final name.
    pub(super) fn keep(self) -> Result<(), String> {
        let Self { file, path } = self;
        file.persist_noclobber(&path).map(drop).map_err(|error| named(&path, &error.error))
    }
}

fn named(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
