//! The end of a group or a directory at a source, which concerns many people at once.

use super::{Ledger, LedgerError};
use crate::domain::SubjectId;
use crate::domain::ledger::{Person, PersonId, Source};
use crate::store::Ended;

/// How many people are read from the store at once.
const BATCH: u32 = 200;

/// The people of one batch whom an ending concerns.
#[derive(Debug)]
pub struct Concerned {
    /// What the source calls them.
    pub subjects: Vec<SubjectId>,
    /// The last person of the batch; `None` after the last batch.
    pub last: Option<PersonId>,
}

impl Ledger {
    /// Reads the next batch of people, and returns those about whom `source` said that they belong to what has `ended`.
    /// Somebody about whom the source never named a directory may belong to any directory, so the end of every directory
    /// concerns them.
    pub async fn concerned_by(
        &self,
        source: &Source,
        ended: &Ended,
        after: Option<PersonId>,
    ) -> Result<Concerned, LedgerError> {
        let people = self.people.page(after, BATCH).await?;
        let concerned = people.iter().filter(|person| !person.superseded && concerns(person, source, ended));
        let subjects = concerned.filter_map(|person| person.subjects.get(source).cloned()).collect();
        Ok(Concerned { subjects, last: people.last().map(|person| person.id) })
    }
}

fn concerns(person: &Person, source: &Source, ended: &Ended) -> bool {
    let Some(statement) = person.statements.get(source).filter(|statement| !statement.is_silent()) else {
        return false;
    };
    match ended {
        Ended::Membership(group) => statement.memberships.get(group).is_some_and(|said| said.value),
        Ended::Directory(directory) => statement.directory.as_ref().is_none_or(|said| said.value == *directory),
    }
}
