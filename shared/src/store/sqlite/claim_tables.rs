//! The table of claims. A claim gives one caller the exclusive right to perform an action.

use rusqlite::{Connection, TransactionBehavior};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS claims (
    claim         TEXT PRIMARY KEY,
    until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_end ON claims (until);
";

/// Creates the table if it is missing. Adds the column `holder` to a table from version 0.2.0. The column is null if
/// the claim has no holder.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    db.execute_batch(SCHEMA)?;
    if !db.prepare("SELECT 1 FROM pragma_table_info('claims') WHERE name = 'holder'")?.exists([])? {
        db.execute_batch("ALTER TABLE claims ADD COLUMN holder TEXT;")?;
    }
    db.commit()
}
