//! Claims of actions in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use time::OffsetDateTime;

use super::SqliteStore;
use crate::store::{OnceOnly, StoreError, fingerprint, holder_mark};

/// Removes the claims that have ended.
fn sweep(db: &Connection, now: OffsetDateTime) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM claims WHERE until < ?1")?.execute([now.unix_timestamp()]).map(drop)
}

#[async_trait]
impl OnceOnly for SqliteStore {
    async fn claim(
        &self,
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let claim = fingerprint(&[kind, what]);
        self.write(move |db| {
            sweep(db, now)?;
            let claimed = db
                .prepare_cached("INSERT OR IGNORE INTO claims (claim, until) VALUES (?1, ?2)")?
                .execute(params![claim, until.unix_timestamp()])?;
            Ok(claimed == 1)
        })
        .await
    }

    async fn claim_for(
        &self,
        holder: &[&str],
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let (claim, mark) = (fingerprint(&[kind, what]), holder_mark(kind, what, holder));
        self.write(move |db| {
            sweep(db, now)?;
            let claimed = db
                .prepare_cached(
                    "INSERT INTO claims (claim, until, holder) VALUES (?1, ?2, ?3)
                     ON CONFLICT (claim) DO UPDATE SET until = excluded.until WHERE holder = excluded.holder",
                )?
                .execute(params![claim, until.unix_timestamp(), mark])?;
            Ok(claimed == 1)
        })
        .await
    }
}
