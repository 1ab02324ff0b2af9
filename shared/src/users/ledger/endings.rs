//! Handles the end of a group, an application or a directory at a source. Such an ending can affect many people.
//!
//! Flexgate records the ending before it changes these people. So an older statement that arrives later gives nobody
//! access again ([`Ledger::without_ended`]).

use super::{Ledger, LedgerError};
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use crate::domain::{Moment, SubjectId};
use crate::store::{Ended, PersonKey, fingerprint};

/// The number of people that one read from the store returns.
const BATCH: u32 = 200;

/// The people in one batch who are affected by the end of a group, an application or a directory.
#[derive(Debug)]
pub struct Concerned {
    /// The source's own ids of these people.
    pub subjects: Vec<SubjectId>,
    /// The number of other people in the batch who may be affected. Flexgate cannot know whether they are, because the
    /// source never named their directory.
    pub unknown: usize,
    /// The last person of the batch. `None` after the last batch.
    pub last: Option<PersonId>,
}

impl Ledger {
    /// Records that a group, an application or a directory has ended at `moment`.
    pub async fn record_ending(&self, source: &Source, ended: &Ended, moment: &Moment) -> Result<(), LedgerError> {
        let mut statement = gone(ended, moment);
        if let Some(earlier) = self.people.unattached(source, &record(ended)).await? {
            statement.merge(earlier);
        }
        Ok(self.people.keep_unattached(source, &record(ended), &statement).await?)
    }

    /// Finds the recorded endings of the groups and the directory that the statement names, and adds them to the
    /// statement. Returns whether the statement has changed.
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

    /// Returns the statement that `ended` causes for `subject`. The statement ends one membership, or the directory and
    /// all memberships in it.
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

    /// Reads the batch of people after the person `after`. Returns those who belong to the group, application or
    /// directory `ended`, according to `source`.
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

/// Returns a statement which says that a person's membership has ended, or that the person's directory has ended.
fn gone(ended: &Ended, moment: &Moment) -> Statement {
    let moment = Moment { deactivates: true, ..moment.clone() };
    match ended {
        Ended::Membership(group) => {
            Statement { memberships: [(group.clone(), Said { moment, value: false })].into(), ..Statement::default() }
        }
        Ended::Directory(_) => Statement { directory: Some(Said { moment, value: None }), ..Statement::default() },
    }
}

/// If the statement's directory has ended, sets `active` and all earlier memberships to false, so that an older version
/// of Flexgate, which ignores directories, also treats the person as inactive. These values stay false even if the
/// source names another directory later.
fn end_with_directory(statement: &mut Statement) {
    let Some(Said { moment, value: None }) = &statement.directory else { return };
    let said = statement.memberships.values_mut().chain(statement.active.as_mut());
    for said in said.filter(|said| said.value && said.moment < *moment) {
        *said = Said { moment: moment.clone(), value: false };
    }
}

/// Returns the key under which the ledger records that a group, an application or a directory has ended. The record is
/// stored like a statement about a subject, but this subject is not a person. The digest in the key prevents a
/// collision with the id of a real person.
fn record(ended: &Ended) -> SubjectId {
    let kind = match ended {
        Ended::Membership(_) => "membership",
        Ended::Directory(_) => "directory",
    };
    let digest = fingerprint(&["ended", kind, ended.id()]);
    // The text is short and has no control characters, so it is a valid subject id.
    format!("flexgate:ended:{digest}").parse().unwrap_or_else(|_| unreachable!("the text is short and plain"))
}

/// Whether the end of a group, an application or a directory affects the person. `None` if the source never named the
/// person's directory.
fn concerns(person: &Person, source: &Source, ended: &Ended) -> Option<bool> {
    let Some(statement) = person.statements.get(source).filter(|statement| !statement.is_silent()) else {
        return Some(false);
    };
    match ended {
        Ended::Membership(group) => Some(statement.memberships.get(group).is_some_and(|said| said.value)),
        Ended::Directory(directory) => statement.directory.as_ref().map(|said| said.value.as_ref() == Some(directory)),
    }
}
