//! Settings of the store and its queues: `FLEXGATE_STORE`, `FLEXGATE_QUEUE`, `FLEXGATE_BULK_QUEUE`.

#[cfg(feature = "local")]
use std::path::PathBuf;
use std::str::FromStr;

use crate::base::settings::Reader;

/// The store that Flexgate uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// A SQLite file: `sqlite:FILE`.
    #[cfg(feature = "local")]
    Sqlite(PathBuf),
    /// A DynamoDB table: `dynamodb:TABLE`.
    DynamoDb(String),
}

impl FromStr for StoreAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            #[cfg(feature = "local")]
            Some(("sqlite", file)) if !file.is_empty() => Ok(Self::Sqlite(file.into())),
            Some(("dynamodb", table)) if !table.is_empty() => Ok(Self::DynamoDb(table.to_owned())),
            _ if cfg!(feature = "local") => {
                Err("must be dynamodb: and a table, or sqlite: and a file, like sqlite:/var/lib/flexgate/flexgate.db")
            }
            _ => Err("must be dynamodb: and a table, in a function built for Lambda"),
        }
    }
}

/// The URLs of the SQS queues, for a store in DynamoDB. `None` for a queue to which this process sends nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// `FLEXGATE_QUEUE`: the queue for identity events.
    pub events: Option<String>,
    /// `FLEXGATE_BULK_QUEUE`: the queue for bulk jobs, such as reconciling each member of a SCIM group.
    pub bulk: Option<String>,
}

impl Queues {
    /// Reads the URLs from the settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let events = reader.optional("FLEXGATE_QUEUE", url);
        let bulk = reader.optional("FLEXGATE_BULK_QUEUE", url);
        Some(Self { events: events?, bulk: bulk? })
    }
}

fn url(text: &str) -> Result<String, &'static str> {
    match text.split_once(':') {
        Some(("sqs", url)) if !url.is_empty() => Ok(url.to_owned()),
        _ => Err("must be sqs: and the queue's URL"),
    }
}
