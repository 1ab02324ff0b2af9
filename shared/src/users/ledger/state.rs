//! Accepts statements from sources: finds the person, checks the statement and stores it.

use super::find::{Meant, plan};
use super::groups::adopt;
use super::news::{bindable, with};
use super::{Earlier, Ledger, LedgerError, News, Outcome, Report};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{
    Active, AttachmentRefused, Desired, Person, Plan, PlanRefused, Source, Statement, desired,
};
use crate::domain::{EventId, FlexUser, Identity};
use crate::store::{PersonKey, Stating, Written};

/// How many times to try a write. An attempt fails if another process writes the same person first.
const TRIES: usize = 5;

/// What a new statement changes about a person and in Flex.
pub(super) struct Change {
    /// The person, including the new statement.
    pub(super) person: Person,
    pub(super) observed: Option<FlexUser>,
    pub(super) desired: Desired,
    pub(super) plan: Plan,
}

impl Ledger {
    /// Stores a source's statement and updates Flex accordingly. If the statement is refused, nothing is stored. An
    /// accepted statement is stored durably, even if the call then fails because Flex could not be updated.
    pub async fn state(&self, news: &News, deadline: Deadline) -> Result<Report, LedgerError> {
        let gives_access = news.statement.says_active() == Some(true);
        for _ in 0..TRIES {
            let reported = match self.meant(news, gives_access, deadline).await? {
                Meant::Nobody if gives_access => return Err(PlanRefused::Incomplete("username").into()),
                Meant::Nobody => return Ok(Report::nothing(Outcome::NoUser)),
                Meant::Known(person) if person.superseded => return superseded(&news.source, gives_access),
                Meant::Known(person) if is_stale(&person, news) => return Ok(Report::nothing(Outcome::Stale)),
                // These futures are large. Put them into boxes, so that the future of every caller does not need as
                // much memory.
                Meant::Known(person) => Box::pin(self.state_known(person, news, deadline)).await?,
                Meant::New(person, instead_of) => Box::pin(self.state_new(person, instead_of, news, deadline)).await?,
            };
            if let Some(report) = reported {
                return Ok(report);
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// Processes a statement about a person whom the ledger knows. Returns `None` if another process changes the person
    /// first.
    pub(super) async fn state_known(
        &self,
        person: Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        // End the sessions before sending any request to Twilio. So a slow or failing request cannot keep them open.
        if let (Some(false), Some(sid)) = (news.statement.says_active(), &person.flex_user_sid) {
            self.provisioning.sessions().end_all_of(sid).await?;
        }
        let lease = self.lease(person.id, deadline).await?;
        let done = self.state_under_lease(&person, news, deadline).await;
        self.finish(lease, person.id, done, deadline).await
    }

    pub(super) async fn state_under_lease(
        &self,
        seen: &Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        let Some(before) = self.people.person(&PersonKey::Id(seen.id)).await? else { return Ok(None) };
        if before.superseded {
            return Ok(None);
        }
        let Some(before) = self.projected(before, None).await? else { return Ok(None) };
        let identity = bindable(&before, news);
        let change = self.change(&before, news, deadline).await?;
        let locked = self.guard(&change, deadline).await?;
        let done = async {
            self.hand_over(&change, identity).await?;
            let stating = Stating {
                source: &news.source,
                statement: &change.person.statements[&news.source],
                subject: news.subject.as_ref(),
                given: Some(&change.person.given).filter(|given| **given != before.given),
            };
            let version = match self.people.state(before.id, before.version, stating).await? {
                Written::Yes(version) => version,
                Written::Moved => return Ok(None),
            };
            self.end_previous_access(&change, identity).await?;
            let change = Change { person: Person { version, ..change.person }, ..change };
            self.bring(change, identity, deadline).await
        }
        .await;
        self.unguard(locked).await?;
        done
    }

    async fn state_new(
        &self,
        person: Person,
        instead_of: Option<Box<Person>>,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let change = self.change(&person, news, deadline).await?;
        let change = match (&change.observed, &instead_of) {
            (Some(user), None) if !person.given.taking_over => {
                let mut person = Person { flex_user_sid: Some(user.flex_user_sid.clone()), ..person.clone() };
                let due = self.due(&person, &self.kept(&person).await?, None);
                if due.is_empty() {
                    change
                } else {
                    for (source, statement) in due {
                        adopt(&mut person, source, statement);
                    }
                    self.change(&person, news, deadline).await?
                }
            }
            _ => change,
        };
        // Flex may spell the username differently from the source. The ledger may then know the person under the
        // spelling that Flex uses.
        if let Some(key) = change.observed.as_ref().map(|user| user.username.key())
            && key != person.username.key()
            && let Some(known) = self.people.person(&PersonKey::Username(key)).await?
        {
            let gives_access = news.statement.says_active() == Some(true);
            return match self.attached(known, news, gives_access, deadline).await? {
                Meant::Known(known) => self.state_known(known, news, deadline).await,
                // Refuse a takeover here. Flexgate found the person only by the spelling that Flex uses, and for a
                // takeover the source must send exactly that spelling.
                _ => Err(AttachmentRefused::HeldByAnother(news.source.clone()).into()),
            };
        }
        let locked = self.guard(&change, deadline).await?;
        let done = async {
            self.hand_over(&change, news.identity.as_ref()).await?;
            // This future is large, and so is that of `add`. Put them into boxes, so that the future of every caller
            // does not need as much memory.
            let change =
                if person.given.taking_over { Box::pin(self.without_predecessor(change)).await? } else { change };
            Box::pin(self.add(change, instead_of, news.identity.as_ref(), deadline)).await
        }
        .await;
        self.unguard(locked).await?;
        done
    }

    /// Ends the group memberships of the Flex user's previous owner. If the person has no SCIM statement, also adds an
    /// empty one. The SCIM store still has older data about the previous owner, and the ledger copies such data only
    /// for a person without a SCIM statement.
    async fn without_predecessor(&self, mut change: Change) -> Result<Change, LedgerError> {
        if let Some(user) = change.observed.as_ref().map(|user| &user.flex_user_sid) {
            self.leave_groups(user).await?;
        }
        let cause = EventId::from(u128::from_be_bytes(self.clock_rng.random()));
        let silent = Statement::in_full(self.clock_rng.now(), &cause);
        change.person.statements.entry(Source::Scim).or_insert(silent);
        Ok(change)
    }

    /// Ends the previous owner's access a second time after the new owner was stored. A mint may have bound the
    /// previous owner's identity after the first time. A mint that comes later finds the new owner in
    /// [`Ledger::confirm`].
    async fn end_previous_access(&self, change: &Change, identity: Option<&Identity>) -> Result<(), LedgerError> {
        let Some(user) = change.observed.as_ref().filter(|_| change.person.given.taking_over) else { return Ok(()) };
        self.end_access(&user.flex_user_sid).await?;
        match identity {
            Some(identity) if change.desired.active != Active::No => self.bind(identity, &user.flex_user_sid).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn add(
        &self,
        change: Change,
        instead_of: Option<Box<Person>>,
        identity: Option<&Identity>,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let mut person = change.person;
        // Store the username from the start as Flex spells it.
        if let Some(user) = &change.observed {
            person.username = user.username.clone();
            person.flex_user_sid = Some(user.flex_user_sid.clone());
        }
        let Written::Yes(version) = self.people.add(&person, instead_of.as_deref()).await? else { return Ok(None) };
        let id = person.id;
        let change = Change { person: Person { version, ..person }, ..change };
        self.end_previous_access(&change, identity).await?;
        let lease = self.lease(id, deadline).await?;
        // Another process may have reconciled the person before this one got the lease.
        let now = self.people.person(&PersonKey::Id(id)).await;
        let done = match now {
            Ok(Some(now)) if now.version == version => self.bring(change, identity, deadline).await,
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        };
        self.finish(lease, id, done, deadline).await
    }

    /// Computes what the statement changes. Returns an error if the statement must be refused.
    async fn change(&self, before: &Person, news: &News, deadline: Deadline) -> Result<Change, LedgerError> {
        let person = with(before, news);
        let observed = self.flex_user(&person, deadline).await?;
        let desired = desired(&person, &self.policy, observed.as_ref(), &self.occasion());
        let desired = desired.ok_or(LedgerError::LOST_RACE)?;
        let contradicts = news.statement.says_active() == Some(true) && desired.active == Active::No;
        if contradicts && !matches!(news.source, Source::Webhook(_)) {
            let by = desired.explanation.inactive_by.iter().find(|by| **by != news.source);
            if let Some(by) = by {
                return Err(LedgerError::InactiveBy(by.clone()));
            }
        }
        let plan = plan(&person, &desired, observed.as_ref())?;
        Ok(Change { person, observed, desired, plan })
    }

    /// Gives the Flex user to this person: ends the access of a previous owner, and binds the identity that the source
    /// names. Before this, the caller must run all checks that may refuse the statement. The caller must store the
    /// statement only afterwards, because this fails if the Flex user is bound to somebody else.
    async fn hand_over(&self, change: &Change, identity: Option<&Identity>) -> Result<(), LedgerError> {
        let Some(user) = &change.observed else { return Ok(()) };
        if change.desired.given.taking_over {
            self.end_access(&user.flex_user_sid).await?;
        }
        match identity {
            Some(identity) if change.desired.active != Active::No => self.bind(identity, &user.flex_user_sid).await,
            _ => Ok(()),
        }
    }
}

/// The result of a statement about a person who has lost the username to somebody else. If the statement gives access,
/// it is refused. If it takes access away, nothing changes, because this person has no access.
fn superseded(source: &Source, gives_access: bool) -> Result<Report, LedgerError> {
    if gives_access {
        return Err(AttachmentRefused::HeldByAnother(source.clone()).into());
    }
    Ok(Report::nothing(Outcome::NoUser))
}

/// Whether the ledger already holds everything in the statement, and Flex matches the ledger.
fn is_stale(person: &Person, news: &News) -> bool {
    let after = with(person, news);
    news.earlier == Earlier::Everything
        && person.is_settled()
        && after.statements == person.statements
        && after.subjects == person.subjects
}
