//! Secrets from files, for the local gateway and for single machines.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use secrecy::SecretString;

use super::{FetchError, SecretSource, SecretValue, Stage};
use crate::base::outbound::Deadline;

/// A folder with one JSON document for each secret: `{id}.json`. During a rotation, `{id}.pending.json` contains the
/// pending version. A document's version is the SHA-256 of its text.
#[derive(Debug, Clone)]
pub struct FileSecrets {
    folder: PathBuf,
}

impl FileSecrets {
    /// Makes a source that reads secrets from this folder, without reading anything yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

#[async_trait]
impl SecretSource for FileSecrets {
    async fn fetch(&self, id: &str, stage: Stage, _deadline: Deadline) -> Result<SecretValue, FetchError> {
        let stays_inside = id.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !stays_inside {
            return Err(FetchError::NotFound);
        }
        let suffix = match stage {
            Stage::Current => "json",
            Stage::Pending => "pending.json",
        };
        let path = self.folder.join(format!("{id}.{suffix}"));
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = match read {
            Ok(Ok(text)) => text,
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(FetchError::NotFound),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(FetchError::Denied(Arc::new(error)));
            }
            Ok(Err(error)) => return Err(FetchError::Unavailable(Arc::new(error))),
            Err(error) => return Err(FetchError::Unavailable(Arc::new(error))),
        };
        let version = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
        Ok(SecretValue { version, text: SecretString::from(text) })
    }
}
