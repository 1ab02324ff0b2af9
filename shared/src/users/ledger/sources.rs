//! Counts the people whom each source's statements describe. Also withdraws the statements of a source that is no
//! longer used.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{Earlier, Ledger, LedgerError, News, Outcome, Report};
use crate::base::error_chain::with_causes;
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement, desired};
use crate::domain::{EventId, Role, RoleSet, Username};
use crate::store::{PersonKey, Stating, Written};

/// The number of people that one read from the store returns.
const BATCH: u32 = 500;

/// The maximum number of attempts at changing a person. An attempt fails if another process is changing the person.
const TRIES: usize = 5;

/// The number of people whom a source's statements describe, and the time of the latest statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceCount {
    /// The number of people about whom the source says something.
    pub people: usize,
    /// How many of these people are active according to the source.
    pub active: usize,
    /// How many of these people are inactive according to the source.
    pub inactive: usize,
    /// The time of the source's latest statement.
    pub last: Option<OffsetDateTime>,
}

/// The changes that the withdrawal of a source's statements causes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawal {
    /// In the result of [`Ledger::foresee_withdrawal`]: the number of people about whom the source says something. In
    /// the result of [`Ledger::withdraw_source`]: the number of people for whom the call has completed the withdrawal,
    /// including people for whom an earlier call began it.
    pub people: usize,
    /// The number of people for whom an earlier call withdrew the source's statement but did not update the Flex user.
    /// Only [`Ledger::foresee_withdrawal`] counts these people.
    pub unfinished: usize,
    /// The number of people for whom an earlier call completed the withdrawal. Only [`Ledger::foresee_withdrawal`]
    /// counts these people.
    pub finished: usize,
    /// How many of `people` are inactive according to the source. They stay inactive, because the withdrawal replaces
    /// the source's statement with an operator's statement, which also says that the person is inactive.
    pub kept_inactive: usize,
    /// For each role, the number of people who lose it.
    pub losing: BTreeMap<Role, usize>,
    /// The number of people who lose at least one role.
    pub losing_any: usize,
    /// The people who could not be changed, each with the reason.
    pub failed: Vec<(String, String)>,
}

impl Ledger {
    /// Lists every source that has said something about anybody. Calls `progress` with the number of people read so
    /// far.
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

    /// Computes what the withdrawal of a source's statements would change. Writes nothing. A person can lose only roles
    /// that Flexgate has given, and the ledger records these roles.
    pub async fn foresee_withdrawal(
        &self,
        source: &Source,
        each: impl Fn() -> Deadline,
    ) -> Result<Withdrawal, LedgerError> {
        let mut found = Withdrawal::default();
        let mut after = None;
        loop {
            let people = self.people.page(after, BATCH).await?;
            let Some(last) = people.last() else { break };
            after = Some(last.id);
            for person in &people {
                self.foresee(source, person, &mut found);
            }
        }
        if *source == Source::Scim {
            for (_, person) in self.unadopted(each).await? {
                self.foresee(source, &person, &mut found);
            }
        }
        Ok(found)
    }

    fn foresee(&self, source: &Source, person: &Person, found: &mut Withdrawal) {
        match standing(source, person) {
            None => {}
            Some(Standing::Finished) => found.finished += 1,
            Some(Standing::Unfinished) => found.unfinished += 1,
            Some(Standing::Speaks) => {
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

    /// Withdraws a source's statements about all people. If the source says that a person is inactive, this function
    /// replaces the statement with an operator's statement, which also says that the person is inactive. So the
    /// withdrawal activates nobody.
    ///
    /// If a call is interrupted, the next call completes the withdrawal. Calls `progress` with the number of people
    /// done.
    pub async fn withdraw_source(
        &self,
        source: &Source,
        cause: &EventId,
        each: impl Fn() -> Deadline,
        mut progress: impl FnMut(usize),
    ) -> Result<Withdrawal, LedgerError> {
        let (mut done, mut after) = (Withdrawal::default(), None);
        if *source == Source::Scim {
            // First copy the SCIM data of versions before 0.2.0 into the ledger. Otherwise the next sweep would copy it
            // later, and SCIM would again have statements about these people.
            for (id, _) in self.unadopted(&each).await? {
                if let Err(error) = self.adopt_member(&id, each()).await {
                    done.failed.push((format!("SCIM user {id}"), with_causes(&error)));
                }
            }
        }
        loop {
            let people = self.people.page(after, BATCH).await?;
            let Some(last) = people.last() else { return Ok(done) };
            after = Some(last.id);
            for person in &people {
                let withdrawn = match standing(source, person) {
                    None | Some(Standing::Finished) => continue,
                    Some(Standing::Unfinished) => self.reconcile(person.id, each()).await.map(|_| false),
                    Some(Standing::Speaks) => Box::pin(self.withdraw_from(person.id, source, cause, each())).await,
                };
                match withdrawn {
                    Ok(kept_inactive) => {
                        done.people += 1;
                        done.kept_inactive += usize::from(kept_inactive);
                    }
                    Err(error) => done.failed.push((format!("person {}", person.id), with_causes(&error))),
                }
                progress(done.people);
            }
        }
    }

    /// Withdraws every statement that says "inactive" about the person with this username, except an operator's
    /// statement. Use this for a person who has returned, if the sources will not report the return. The withdrawal
    /// alone activates nobody.
    ///
    /// Returns the sources whose statements were withdrawn.
    pub async fn lift_inactive(
        &self,
        username: &Username,
        cause: &EventId,
        deadline: Deadline,
    ) -> Result<Vec<Source>, LedgerError> {
        let Some(person) = self.people.person(&PersonKey::Username(username.key())).await? else {
            return Ok(Vec::new());
        };
        let lease = self.lease(person.id, deadline).await?;
        let lifted = self.lift_under_lease(person.id, cause).await;
        self.people.release(person.id, lease.holder(), None).await?;
        lifted
    }

    async fn lift_under_lease(&self, id: PersonId, cause: &EventId) -> Result<Vec<Source>, LedgerError> {
        let Some(mut person) = self.people.person(&PersonKey::Id(id)).await? else { return Ok(Vec::new()) };
        let inactive_by: Vec<Source> =
            person.inactive_by().filter(|source| **source != Source::Operator).cloned().collect();
        for source in &inactive_by {
            let silent = Statement::in_full(self.clock_rng.now(), cause).made_after(person.statements[source].latest());
            let stating = Stating { source, statement: &silent, subject: None, given: None };
            match self.people.state(id, person.version, stating).await? {
                Written::Yes(version) => person.version = version,
                Written::Moved => return Err(LedgerError::LOST_RACE),
            }
        }
        Ok(inactive_by)
    }

    /// Withdraws the source's statement about one person. If the source says that the person is inactive, this function
    /// replaces the statement with an operator's statement, which also says that the person is inactive. The person
    /// stays inactive, and the function returns true.
    async fn withdraw_from(
        &self,
        id: PersonId,
        source: &Source,
        cause: &EventId,
        deadline: Deadline,
    ) -> Result<bool, LedgerError> {
        let mut kept_inactive = false;
        for _ in 0..TRIES {
            let lease = self.lease(id, deadline).await?;
            let done = self.withdraw_under_lease(id, source, cause, &mut kept_inactive, deadline).await;
            if self.finish(lease, id, done, deadline).await?.is_some() {
                return Ok(kept_inactive);
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// Withdraws the source's statement about one person. The caller must hold the lease on the person. Checks again
    /// whether the source says "inactive", because this can change before the lease is granted.
    async fn withdraw_under_lease(
        &self,
        id: PersonId,
        source: &Source,
        cause: &EventId,
        kept_inactive: &mut bool,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        let Some(mut person) = self.people.person(&PersonKey::Id(id)).await? else { return Ok(None) };
        if person.superseded {
            return Ok(Some((Report::nothing(Outcome::Stale), person.version)));
        }
        let now = self.clock_rng.now();
        let inactive = person.inactive_by().any(|by| by == source);
        *kept_inactive |= inactive;
        let inactive = inactive.then(|| Said::access(now, cause, false));
        if *source == Source::Operator {
            let statement = Statement { active: inactive, ..Statement::in_full(now, cause) };
            return self.state_under_lease(&person, &news(&person, Source::Operator, statement), deadline).await;
        }
        if inactive.is_some() {
            let said = Statement { active: inactive, ..Statement::default() };
            let mut statement = person.statements.get(&Source::Operator).cloned().unwrap_or_default();
            let said = said.made_after(statement.latest());
            statement.merge(said);
            let stating = Stating { source: &Source::Operator, statement: &statement, subject: None, given: None };
            match self.people.state(id, person.version, stating).await? {
                Written::Yes(version) => person.version = version,
                Written::Moved => return Ok(None),
            }
        }
        let silent = news(&person, source.clone(), Statement::in_full(now, cause));
        self.state_under_lease(&person, &silent, deadline).await
    }
}

fn news(person: &Person, source: Source, statement: Statement) -> News {
    News {
        source,
        subject: None,
        identity: None,
        username: Some(person.username.clone()),
        flex_user_sid: person.flex_user_sid.clone(),
        statement,
        earlier: Earlier::Everything,
    }
}

/// The state of a withdrawal for one person.
enum Standing {
    /// The source says something about the person, so the withdrawal has not begun.
    Speaks,
    /// The source's statement was withdrawn, but the Flex user has not been updated.
    Unfinished,
    /// The source's statement was withdrawn, and the Flex user matches the ledger.
    Finished,
}

/// Returns the state of the withdrawal for this person. `None` if the source never said anything about the person.
fn standing(source: &Source, person: &Person) -> Option<Standing> {
    let said = person.statements.get(source).filter(|_| !person.superseded)?;
    Some(match said.is_silent() {
        false => Standing::Speaks,
        true if person.is_settled() => Standing::Finished,
        true => Standing::Unfinished,
    })
}
