//! The sources that have spoken, and what becomes of everybody when one is retired.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{Earlier, Ledger, LedgerError, News};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement, desired};
use crate::domain::{EventId, Role, RoleSet};

/// How many people are read at a time.
const BATCH: u32 = 500;

/// How often a person who is being changed by somebody else is tried again.
const TRIES: usize = 5;

/// Of how many people a source has spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceCount {
    /// People of whom it says anything.
    pub people: usize,
    /// Those of them who it says are active.
    pub active: usize,
    /// Those of them who it says are inactive.
    pub inactive: usize,
    /// When it last said something.
    pub last: Option<OffsetDateTime>,
}

/// What the withdrawal of a source comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawal {
    /// People of whom the source says anything.
    pub people: usize,
    /// Those of them whom it holds inactive. They stay so: an operator says it from then on.
    pub kept_inactive: usize,
    /// How many people lose each role.
    pub losing: BTreeMap<Role, usize>,
    /// How many people lose any role.
    pub losing_any: usize,
    /// People who could not be changed, and why.
    pub failed: Vec<(PersonId, String)>,
}

impl Ledger {
    /// Every source that has spoken of anybody. `progress` is told how many people have been read.
    pub async fn sources(&self, mut progress: impl FnMut(usize)) -> Result<BTreeMap<Source, SourceCount>, LedgerError> {
        let (mut counts, mut after, mut read) = (BTreeMap::<Source, SourceCount>::new(), None, 0);
        loop {
            let people = self.people.page(after, BATCH).await?;
            let Some(last) = people.last() else { return Ok(counts) };
            (after, read) = (Some(last.id), read + people.len());
            for person in people.iter().filter(|person| !person.superseded) {
                for (source, statement) in person.statements.iter().filter(|(_, said)| !said.is_silent()) {
                    let count = counts.entry(source.clone()).or_default();
                    count.people += 1;
                    match statement.says_active().filter(|_| source.may_say_active()) {
                        Some(true) => count.active += 1,
                        Some(false) => count.inactive += 1,
                        None => {}
                    }
                    count.last = count.last.max(statement.latest().map(|moment| moment.at));
                }
            }
            progress(read);
        }
    }

    /// What withdrawing a source would come to, by the roles that Flexgate has given.
    pub async fn foresee_withdrawal(&self, source: &Source) -> Result<Withdrawal, LedgerError> {
        let mut found = Withdrawal::default();
        let mut after = None;
        loop {
            let people = self.people.page(after, BATCH).await?;
            let Some(last) = people.last() else { return Ok(found) };
            after = Some(last.id);
            for person in people.iter().filter(|person| speaks(source, person)) {
                found.people += 1;
                found.kept_inactive += usize::from(person.inactive_by().any(|by| by == source));
                let loses = self.loses(person, source);
                found.losing_any += usize::from(!loses.is_empty());
                for role in loses {
                    *found.losing.entry(role).or_default() += 1;
                }
            }
        }
    }

    fn loses(&self, person: &Person, source: &Source) -> RoleSet {
        let mut without = person.clone();
        without.statements.insert(source.clone(), Statement::default());
        let roles = |person: &Person| {
            let desired = desired(person, &self.policy, None, &self.occasion());
            desired.map(|desired| desired.roles).unwrap_or_default()
        };
        let (had, has) = (roles(person), roles(&without));
        had.difference(&has).filter(|role| person.given.roles.contains(role)).copied().collect()
    }

    /// Withdraws all that a source has said, of everybody. That activates nobody: of whomever the source holds
    /// inactive, an operator says it first. Begun again, it goes on. `progress` is told how many people are done.
    pub async fn withdraw_source(
        &self,
        source: &Source,
        cause: &EventId,
        each: impl Fn() -> Deadline,
        mut progress: impl FnMut(usize),
    ) -> Result<Withdrawal, LedgerError> {
        let (mut done, mut after) = (Withdrawal::default(), None);
        loop {
            let people = self.people.page(after, BATCH).await?;
            let Some(last) = people.last() else { return Ok(done) };
            after = Some(last.id);
            for person in people.iter().filter(|person| speaks(source, person)) {
                let kept_inactive = person.inactive_by().any(|by| by == source);
                match self.withdraw_from(person, source, kept_inactive, cause, each()).await {
                    Ok(()) => done.people += 1,
                    Err(error) => done.failed.push((person.id, error.to_string())),
                }
                done.kept_inactive += usize::from(kept_inactive);
            }
            progress(done.people);
        }
    }

    async fn withdraw_from(
        &self,
        person: &Person,
        source: &Source,
        kept_inactive: bool,
        cause: &EventId,
        deadline: Deadline,
    ) -> Result<(), LedgerError> {
        let now = self.ambient.now();
        let says = |source: Source, statement: Statement| News {
            source,
            subject: None,
            identity: None,
            username: Some(person.username.clone()),
            flex_user_sid: person.flex_user_sid.clone(),
            statement,
            earlier: Earlier::Everything,
        };
        let nothing = Statement::in_full(now, cause);
        let inactive = Some(Said::access(now, cause, false)).filter(|_| kept_inactive);
        if *source == Source::Operator {
            return self
                .say_of(person, &says(Source::Operator, Statement { active: inactive, ..nothing }), deadline)
                .await;
        }
        if inactive.is_some() {
            let inactive = Statement { active: inactive, ..Statement::default() };
            self.say_of(person, &says(Source::Operator, inactive), deadline).await?;
        }
        self.say_of(person, &says(source.clone(), nothing), deadline).await
    }

    async fn say_of(&self, person: &Person, news: &News, deadline: Deadline) -> Result<(), LedgerError> {
        for _ in 0..TRIES {
            if Box::pin(self.state_known(person.clone(), news, deadline)).await?.is_some() {
                return Ok(());
            }
        }
        Err(LedgerError::Busy)
    }
}

fn speaks(source: &Source, person: &Person) -> bool {
    !person.superseded && person.statements.get(source).is_some_and(|said| !said.is_silent())
}
