//! Converts SQLite's rows into values, and SQLite's errors into errors of the store.

use std::error::Error;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;
use time::OffsetDateTime;

use crate::store::StoreError;

pub(super) fn failure(error: rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
            StoreError::Corrupt(error.into())
        }
        _ => StoreError::Unavailable(error.into()),
    }
}

pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: T::Err| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<OffsetDateTime> {
    let seconds = row.get(column)?;
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into()))
}
