//! The return addresses of pending logins in SQLite.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};
use time::OffsetDateTime;

use super::SqliteStore;
use super::worker::Keep;
use crate::store::{ReturnAddresses, StoreError};

/// The maximum number of stored return addresses. The limit is necessary because anybody can begin logins. When the
/// maximum is reached, the return addresses of new logins are not stored.
const MOST: i64 = 10_000;

#[async_trait]
impl ReturnAddresses for SqliteStore {
    async fn keep_address(
        &self,
        login: &str,
        sealed: String,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let login = login.to_owned();
        // Do not wait for an fsync. If a crash loses the address, the person only goes to the default address.
        self.jobs
            .ask(Keep::Soon, move |db| {
                db.prepare_cached("DELETE FROM return_addresses WHERE until < ?1")?.execute([now.unix_timestamp()])?;
                db.prepare_cached(
                    "INSERT INTO return_addresses (login, sealed, until)
                     SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM return_addresses) < ?4",
                )?
                .execute(params![login, sealed, until.unix_timestamp(), MOST])?;
                Ok(())
            })
            .await
    }

    async fn address_of(&self, login: &str) -> Result<Option<String>, StoreError> {
        let login = login.to_owned();
        self.read(move |db| {
            db.prepare_cached("SELECT sealed FROM return_addresses WHERE login = ?1")?
                .query_row([login], |row| row.get(0))
                .optional()
        })
        .await
    }
}
