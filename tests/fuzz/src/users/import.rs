//! Includes the part of `flexgate users import` that reads the file, so that the fuzzer can call it.

use flexgate::domain::DesiredUser;
use flexgate::domain::policy::Policy;

#[path = "../../../../infra/cli/src/users/import/header.rs"]
mod header;
#[path = "../../../../infra/cli/src/users/import/rows.rs"]
#[expect(dead_code, reason = "the rest of the import is not here")]
mod rows;
#[path = "../../../../infra/cli/src/users/import/text.rs"]
mod text;

/// Returns the people in the file, or the mistakes in it.
pub(crate) fn people(file: &[u8], policy: &Policy) -> Result<Vec<DesiredUser>, Vec<String>> {
    match rows::parse(file, policy) {
        Ok(parsed) => Ok(parsed.rows.into_iter().map(|row| row.desired).collect()),
        Err(rows::Refused::Whole(mistake)) => Err(vec![mistake]),
        Err(rows::Refused::Rows(mistakes)) => Err(mistakes),
    }
}
