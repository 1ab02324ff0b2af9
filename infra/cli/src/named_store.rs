//! Opens the store for a command. An option of the command or the variable `FLEXGATE_STORE` specifies the store. The
//! command needs none of the gateway's other settings.

use std::error::Error;
use std::path::Path;

use flexgate::base::outbound::http_client;
use flexgate::base::settings::Reader;
use flexgate::lambda::Aws;
use flexgate::store::{DynamoStore, Queues, SqliteStore, SqsQueue, StoreAt};

/// An open store.
pub enum NamedStore {
    /// The store on this machine.
    Sqlite(SqliteStore),
    /// The store on AWS.
    DynamoDb(DynamoStore),
}

/// Opens the SQLite file `named`, if it is given. Otherwise, opens the store in `FLEXGATE_STORE`. If neither is given,
/// opens the simulated set-up's store. Never creates a file.
pub fn open(named: Option<&Path>) -> Result<NamedStore, Box<dyn Error>> {
    let mut reader = Reader::of_process();
    let named = named.map(|path| StoreAt::Sqlite(path.to_owned()));
    let store = named.or_else(|| reader.or("FLEXGATE_STORE", StoreAt::Sqlite(".flexgate/flexgate.db".into())));
    let queues = Queues::read(&mut reader);
    let (store, queues) = reader.finish(store.zip(queues))?;
    match store {
        StoreAt::Sqlite(path) if path.exists() => Ok(NamedStore::Sqlite(SqliteStore::open(&path)?)),
        StoreAt::Sqlite(path) => Err(format!("there is no store at {}: name one with --store", path.display()).into()),
        StoreAt::DynamoDb(table) => {
            let aws = Aws::new(http_client(&[])?);
            Ok(NamedStore::DynamoDb(DynamoStore::new(&table, SqsQueue::new(queues, aws.clone()), aws)))
        }
    }
}
