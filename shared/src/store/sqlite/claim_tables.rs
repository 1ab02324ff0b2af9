//! The table of claimed actions.

use rusqlite::{Connection, TransactionBehavior};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS claims (
    claim         TEXT PRIMARY KEY,
    until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_end ON claims (until);
";

/// Creates the table if it is missing. Adds the column `holder`, which the stores of version 0.2.0 lack. The column is
/// null in a claim without a holder.
pub(super) fn prepare(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    db.execute_batch(SCHEMA)?;
    if !db.prepare("SELECT 1 FROM pragma_table_info('claims') WHERE name = 'holder'")?.exists([])? {
        db.execute_batch("ALTER TABLE claims ADD COLUMN holder TEXT;")?;
    }
    db.commit()
}
