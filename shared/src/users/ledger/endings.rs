//! Handles the end of a group, an application or a directory at a source. Such an ending can concern many people.
//!
//! Flexgate records the ending before it changes any of these people. If a statement is older than the ending but
//! arrives later, the statement then gives nobody access back ([`Ledger::without_ended`]).

use super::{Ledger, LedgerError};
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use crate::domain::{Moment, SubjectId};
use crate::store::{Ended, PersonKey, fingerprint};

/// How many people are read from the store at once.
const BATCH: u32 = 200;

/// The people in one batch of the ledger whom an ending concerns.
#[derive(Debug)]
pub struct Concerned {
    /// The source's own ids of these people.
    pub subjects: Vec<SubjectId>,
    /// How many people in the batch the ending may concern. This is not known for certain, because the source never
    /// named their directory.
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

    /// Checks whether a group or the directory that `statement` names has ended. If so, adds that to the statement.
    /// Returns whether the statement has changed.
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

    /// Returns the statement that results from an ending for the person whom the source calls `subject`. It ends the
    /// person's membership, or the directory and all memberships in it.
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

    /// Reads the next batch of people, which begins after the person `after`. Returns those who belong to `ended`,
    /// according to `source`.
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

/// Returns a statement which says that the membership or the directory of a person has ended.
fn gone(ended: &Ended, moment: &Moment) -> Statement {
    let moment = Moment { deactivates: true, ..moment.clone() };
    match ended {
        Ended::Membership(group) => {
            Statement { memberships: [(group.clone(), Said { moment, value: false })].into(), ..Statement::default() }
        }
        Ended::Directory(_) => Statement { directory: Some(Said { moment, value: None }), ..Statement::default() },
    }
}

/// If the directory in the statement has ended, also ends what the source said before: that the person is active, and
/// the memberships. These endings last even if the source names a directory again, and an older version of Flexgate, which
/// knows no directories, understands them.
fn end_with_directory(statement: &mut Statement) {
    let Some(Said { moment, value: None }) = &statement.directory else { return };
    let said = statement.memberships.values_mut().chain(statement.active.as_mut());
    for said in said.filter(|said| said.value && said.moment < *moment) {
        *said = Said { moment: moment.clone(), value: false };
    }
}

/// Returns the key under which the record of an ending is stored. The record is stored like a statement about a
/// subject, but this subject is no real person. The key contains a digest, so no source has a person with the same id
/// by chance.
fn record(ended: &Ended) -> SubjectId {
    let kind = match ended {
        Ended::Membership(_) => "membership",
        Ended::Directory(_) => "directory",
    };
    let digest = fingerprint(&["ended", kind, ended.id()]);
    // This text is a valid subject id: it is short and has no control characters.
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
