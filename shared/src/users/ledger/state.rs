//! Takes statements: finds the person, validates the statement, writes it.

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

/// How many attempts to make when a write loses a race.
const TRIES: usize = 5;

/// What a person becomes with a new statement.
pub(super) struct Change {
    /// The person, including the new statement.
    pub(super) person: Person,
    pub(super) observed: Option<FlexUser>,
    pub(super) desired: Desired,
    pub(super) plan: Plan,
}

impl Ledger {
    /// Takes what a source says, and brings Flex in step with it. A refused statement leaves nothing behind. An
    /// accepted one is durable, even if an error says that Flex could not be brought in step.
    pub async fn state(&self, news: &News, deadline: Deadline) -> Result<Report, LedgerError> {
        let gives_access = news.statement.says_active() == Some(true);
        for _ in 0..TRIES {
            let reported = match self.meant(news, gives_access, deadline).await? {
                Meant::Nobody if gives_access => return Err(PlanRefused::Incomplete("username").into()),
                Meant::Nobody => return Ok(Report::nothing(Outcome::NoUser)),
                Meant::Known(person) if person.superseded => return superseded(&news.source, gives_access),
                Meant::Known(person) if is_stale(&person, news) => return Ok(Report::nothing(Outcome::Stale)),
                // Boxed: these futures are large, and every caller would carry them.
                Meant::Known(person) => Box::pin(self.state_known(person, news, deadline)).await?,
                Meant::New(person, instead_of) => Box::pin(self.state_new(person, instead_of, news, deadline)).await?,
            };
            if let Some(report) = reported {
                return Ok(report);
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// `None` if somebody else wrote in between.
    pub(super) async fn state_known(
        &self,
        person: Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        // Take access away first, before anything that Twilio could delay or refuse.
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
        // Flex may spell the username differently from the source, and the ledger may know the person under Flex's
        // spelling.
        if let Some(key) = change.observed.as_ref().map(|user| user.username.key())
            && key != person.username.key()
            && let Some(known) = self.people.person(&PersonKey::Username(key)).await?
        {
            let gives_access = news.statement.says_active() == Some(true);
            return match self.attached(known, news, gives_access, deadline).await? {
                Meant::Known(known) => self.state_known(known, news, deadline).await,
                // Refuse a takeover that was found only through Flex's spelling: the source must name the username
                // itself.
                _ => Err(AttachmentRefused::HeldByAnother(news.source.clone()).into()),
            };
        }
        let locked = self.guard(&change, deadline).await?;
        let done = async {
            self.hand_over(&change, news.identity.as_ref()).await?;
            // Boxed, like `add`: this future is large.
            let change =
                if person.given.taking_over { Box::pin(self.without_predecessor(change)).await? } else { change };
            Box::pin(self.add(change, instead_of, news.identity.as_ref(), deadline)).await
        }
        .await;
        self.unguard(locked).await?;
        done
    }

    /// Ends the group memberships of the Flex user's previous owner, and keeps the SCIM store's data about them from
    /// being adopted: with a SCIM statement present, though silent, it is not.
    async fn without_predecessor(&self, mut change: Change) -> Result<Change, LedgerError> {
        if let Some(user) = change.observed.as_ref().map(|user| &user.flex_user_sid) {
            self.leave_groups(user).await?;
        }
        let cause = EventId::from(u128::from_be_bytes(self.clock_rng.random()));
        let silent = Statement::in_full(self.clock_rng.now(), &cause);
        change.person.statements.entry(Source::Scim).or_insert(silent);
        Ok(change)
    }

    /// Ends the previous owner's access once more after the new owner was written: a mint may have bound the previous
    /// owner in between. A later mint sees the new owner ([`Ledger::confirm`]).
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
        // Store the person under Flex's spelling from the start.
        if let Some(user) = &change.observed {
            person.username = user.username.clone();
            person.flex_user_sid = Some(user.flex_user_sid.clone());
        }
        let Written::Yes(version) = self.people.add(&person, instead_of.as_deref()).await? else { return Ok(None) };
        let id = person.id;
        let change = Change { person: Person { version, ..person }, ..change };
        self.end_previous_access(&change, identity).await?;
        let lease = self.lease(id, deadline).await?;
        // Somebody else may have reconciled the person before this process got the lease.
        let now = self.people.person(&PersonKey::Id(id)).await;
        let done = match now {
            Ok(Some(now)) if now.version == version => self.bring(change, identity, deadline).await,
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        };
        self.finish(lease, id, done, deadline).await
    }

    /// Computes what the person becomes with the statement, or refuses it.
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

    /// Makes the Flex user the person's: ends what a previous owner of it could still use, and binds the identity that
    /// the source names. This comes after everything that may refuse the statement, and before the statement is
    /// written, because the Flex user may turn out to be bound to somebody else.
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

/// The answer for a person who lost the username to somebody else: a statement that gives access is refused, and one
/// that takes access away has nothing left to take.
fn superseded(source: &Source, gives_access: bool) -> Result<Report, LedgerError> {
    if gives_access {
        return Err(AttachmentRefused::HeldByAnother(source.clone()).into());
    }
    Ok(Report::nothing(Outcome::NoUser))
}

/// Whether the ledger already holds everything that is said, and Flex is in step with it.
fn is_stale(person: &Person, news: &News) -> bool {
    let after = with(person, news);
    news.earlier == Earlier::Everything
        && person.is_settled()
        && after.statements == person.statements
        && after.subjects == person.subjects
}
