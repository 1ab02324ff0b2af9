//! The end of a group or a directory at a source, which concerns many people at once.
//!
//! An ending is recorded before anybody is changed. A statement that arrives later, but is older than the ending, then
//! gives no access back ([`Ledger::without_ended`]).

use super::{Ledger, LedgerError};
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use crate::domain::{Moment, SubjectId};
use crate::store::{Ended, PersonKey, fingerprint};

/// How many people are read from the store at once.
const BATCH: u32 = 200;

/// The people of one batch whom an ending concerns.
#[derive(Debug)]
pub struct Concerned {
    /// What the source calls them.
    pub subjects: Vec<SubjectId>,
    /// How many people of the batch the source may mean, because it never named their directory.
    pub unknown: usize,
    /// The last person of the batch; `None` after the last batch.
    pub last: Option<PersonId>,
}

impl Ledger {
    /// Records that something has ended at `moment`.
    pub async fn record_ending(&self, source: &Source, ended: &Ended, moment: &Moment) -> Result<(), LedgerError> {
        let mut statement = gone(ended, moment);
        if let Some(earlier) = self.people.unattached(source, &record(ended)).await? {
            statement.merge(earlier);
        }
        Ok(self.people.keep_unattached(source, &record(ended), &statement).await?)
    }

    /// Adds to `statement` that the groups and the directory which it names have ended, if they have. Returns whether
    /// that changed anything.
    pub async fn without_ended(&self, source: &Source, statement: &mut Statement) -> Result<bool, LedgerError> {
        let before = statement.clone();
        let groups =
            before.memberships.iter().filter(|(_, said)| said.value).map(|(id, _)| Ended::Membership(id.clone()));
        let directory = before.directory.as_ref().and_then(|said| said.value.clone()).map(Ended::Directory);
        for ended in groups.chain(directory) {
            if let Some(ending) = self.people.unattached(source, &record(&ended)).await? {
                statement.merge(ending);
            }
        }
        end_with_directory(statement);
        Ok(*statement != before)
    }

    /// What an ending means for the person whom the source calls `subject`: the statement that ends what they had.
    pub async fn consequence(
        &self,
        source: &Source,
        subject: &SubjectId,
        ended: &Ended,
        moment: &Moment,
    ) -> Result<Statement, LedgerError> {
        let mut statement = gone(ended, moment);
        if let Some(person) = self.people.person(&PersonKey::Subject(source.clone(), subject.clone())).await?
            && let Some(known) = person.statements.get(source)
        {
            statement.memberships.extend(known.memberships.clone());
            statement.active = known.active.clone();
            end_with_directory(&mut statement);
            statement.merge(gone(ended, moment));
        }
        Ok(statement)
    }

    /// Reads the next batch of people, and returns those about whom `source` said that they belong to what has `ended`.
    pub async fn concerned_by(
        &self,
        source: &Source,
        ended: &Ended,
        after: Option<PersonId>,
    ) -> Result<Concerned, LedgerError> {
        let people = self.people.page(after, BATCH).await?;
        let (mut subjects, mut unknown) = (Vec::new(), 0);
        for person in people.iter().filter(|person| !person.superseded) {
            match concerns(person, source, ended) {
                Some(true) => subjects.extend(person.subjects.get(source).cloned()),
                None => unknown += 1,
                Some(false) => {}
            }
        }
        Ok(Concerned { subjects, unknown, last: people.last().map(|person| person.id) })
    }
}

/// What an ending means for one person who belonged to what has ended.
fn gone(ended: &Ended, moment: &Moment) -> Statement {
    let moment = Moment { deactivates: true, ..moment.clone() };
    match ended {
        Ended::Membership(group) => {
            Statement { memberships: [(group.clone(), Said { moment, value: false })].into(), ..Statement::default() }
        }
        Ended::Directory(_) => Statement { directory: Some(Said { moment, value: None }), ..Statement::default() },
    }
}

/// Somebody whose directory has ended is inactive, and their groups have ended with it. Both are written out, so that they
/// last even if the source names a directory again, and for a version that knows no directories.
fn end_with_directory(statement: &mut Statement) {
    let Some(Said { moment, value: None }) = &statement.directory else { return };
    let said = statement.memberships.values_mut().chain(statement.active.as_mut());
    for said in said.filter(|said| said.value && said.moment < *moment) {
        *said = Said { moment: moment.clone(), value: false };
    }
}

/// The record of an ending is kept like a statement about a subject whom no source can name: sources' ids never contain a
/// digest with this beginning by chance.
fn record(ended: &Ended) -> SubjectId {
    let kind = match ended {
        Ended::Membership(_) => "membership",
        Ended::Directory(_) => "directory",
    };
    let digest = fingerprint(&["ended", kind, ended.id()]);
    // An event's id follows the same rules as a subject's, and this text follows both.
    format!("flexgate:ended:{digest}").parse().unwrap_or_else(|_| unreachable!("the text is short and plain"))
}

/// Whether the ending concerns the person. `None` if that is not known, because the source never named the person's
/// directory.
fn concerns(person: &Person, source: &Source, ended: &Ended) -> Option<bool> {
    let Some(statement) = person.statements.get(source).filter(|statement| !statement.is_silent()) else {
        return Some(false);
    };
    match ended {
        Ended::Membership(group) => Some(statement.memberships.get(group).is_some_and(|said| said.value)),
        Ended::Directory(directory) => statement.directory.as_ref().map(|said| said.value.as_ref() == Some(directory)),
    }
}
