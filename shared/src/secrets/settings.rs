//! `FLEXGATE_SECRETS`: the source from which Flexgate reads secrets.

use std::path::PathBuf;
use std::str::FromStr;

/// The source of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsFrom {
    /// `aws`, the default: Secrets Manager.
    SecretsManager,
    /// `files:FOLDER`: a folder with one JSON document for each secret.
    Files(PathBuf),
}

impl FromStr for SecretsFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "aws" => Ok(Self::SecretsManager),
            Some(("files", folder)) if !folder.is_empty() => Ok(Self::Files(folder.into())),
            _ => Err("must be aws, or files: and a folder, like files:/etc/flexgate/secrets"),
        }
    }
}
