//! The files in the data directory. They stay after the process has ended, and only their owner can read them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::simulator::StartError;

#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    directory: Option<PathBuf>,
}

impl Store {
    pub(crate) fn open(directory: Option<PathBuf>) -> Result<Self, StartError> {
        if let Some(path) = &directory {
            std::fs::create_dir_all(path).map_err(|source| StartError::Storage { path: path.clone(), source })?;
        }
        Ok(Self { directory })
    }

    /// Returns the file's path, or `None` without a data directory.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(name))
    }

    /// Returns the file's text, or `None` if the file or the data directory is missing.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, StartError> {
        let Some(path) = self.path(name) else { return Ok(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StartError::Storage { path, source }),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), StartError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let path = directory.join(name);
        let draft = directory.join(format!("{name}.new"));
        write_private(&draft, text)
            .and_then(|()| std::fs::rename(&draft, &path))
            .map_err(|source| StartError::Storage { path, source })
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), StartError> {
        let Some(path) = self.path(name) else { return Ok(()) };
        std::fs::remove_file(&path).map_err(|source| StartError::Storage { path, source })
    }

    /// Returns the file's text. If the file is missing, creates it with the text that `make` returns.
    pub(crate) fn read_or_make(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, StartError>,
    ) -> Result<String, StartError> {
        if let Some(text) = self.read(name)? {
            return Ok(text);
        }
        let text = make()?;
        self.write(name, &text)?;
        Ok(text)
    }

    pub(crate) fn corrupt(&self, name: &str) -> StartError {
        StartError::Corrupt { path: self.path(name).unwrap_or_else(|| PathBuf::from(name)) }
    }
}

/// Creates the file if it is missing. An existing file stays unchanged.
pub(crate) fn touch_private(path: &Path) -> std::io::Result<()> {
    private().append(true).open(path).map(drop)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    private().write(true).truncate(true).open(path)?.write_all(text.as_bytes())
}

fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}
