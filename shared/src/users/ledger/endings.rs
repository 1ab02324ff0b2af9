//! Finds the people who are concerned when a group, an application or a directory ends at a source.

use super::{Ledger, LedgerError};
use crate::domain::SubjectId;
use crate::domain::ledger::{Person, PersonId, Source};
use crate::store::Ended;

/// How many people are read from the store at once.
const BATCH: u32 = 200;

/// The people in one batch who are concerned by the end of a group or directory.
#[derive(Debug)]
pub struct Concerned {
    /// The source's own ids of these people.
    pub subjects: Vec<SubjectId>,
    /// The last person of the batch; `None` after the last batch.
    pub last: Option<PersonId>,
}

impl Ledger {
    /// Reads the next batch of people. Returns those who, according to `source`, belong to the group or directory that
    /// has `ended`. If the source never named a directory for somebody, that person may belong to any directory. So the
    /// end of every directory concerns them.
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
