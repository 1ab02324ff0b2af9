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

/// Whom a statement changes.
pub(super) enum Addressee {
    /// Nobody.
    Nobody,
    /// A person about whom the ledger already holds everything in the statement. Flex matches the ledger too, so there
    /// is nothing to do.
    Settled(Person),
    /// A person whom the ledger knows.
    Known(Person),
    /// A person whom the ledger does not know yet. If this person takes over a username, the second value is the person
    /// who has the username now.
    New(Person, Option<Box<Person>>),
}

/// The effect of a statement on a person whom the ledger does not know.
pub(super) enum OfNew {
    /// This change.
    Change(Box<Change>),
    /// The ledger knows the person after all, under the username as Flex spells it.
    Known(Box<Person>),
}

impl Ledger {
    /// Stores a source's statement and updates Flex accordingly. If the statement is refused, nothing is stored. An
    /// accepted statement is stored durably, even if the call then fails because Flex could not be updated.
    pub async fn state(&self, news: &News, deadline: Deadline) -> Result<Report, LedgerError> {
        for _ in 0..TRIES {
            let reported = match self.addressee(news, deadline).await? {
                Addressee::Nobody => return Ok(Report::nothing(Outcome::NoUser)),
                Addressee::Settled(person) => {
                    return Ok(Report { known_as: Some(person.username), ..Report::nothing(Outcome::Stale) });
                }
                // These futures are large. Boxing them keeps the future of every caller small.
                Addressee::Known(person) => Box::pin(self.state_known(person, news, deadline)).await?,
                Addressee::New(person, instead_of) => {
                    Box::pin(self.state_new(person, instead_of, news, deadline)).await?
                }
            };
            if let Some(report) = reported {
                return Ok(report);
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// Finds the person whom the statement changes. Returns an error if a statement that gives access does not identify
    /// a person, or if this source must not change that person.
    pub(super) async fn addressee(&self, news: &News, deadline: Deadline) -> Result<Addressee, LedgerError> {
        let gives_access = news.statement.says_active() == Some(true);
        match self.meant(news, gives_access, deadline).await? {
            Meant::Nobody if gives_access => Err(PlanRefused::Incomplete("username").into()),
            Meant::Nobody => Ok(Addressee::Nobody),
            // This person has lost the username to somebody else. A statement that takes access away changes nothing,
            // because the person has no access any more.
            Meant::Known(person) if person.superseded && gives_access => {
                Err(AttachmentRefused::HeldByAnother(news.source.clone()).into())
            }
            Meant::Known(person) if person.superseded => Ok(Addressee::Nobody),
            Meant::Known(person) if is_stale(&person, news) => Ok(Addressee::Settled(person)),
            Meant::Known(person) => Ok(Addressee::Known(person)),
            Meant::New(person, instead_of) => Ok(Addressee::New(person, instead_of)),
        }
    }

    /// Processes a statement about a person whom the ledger knows. Returns `None` if another writer has changed the
    /// person since the person was read.
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
        let change = match self.change_of_new(&person, instead_of.is_some(), news, deadline).await? {
            OfNew::Change(change) => *change,
            OfNew::Known(known) => return self.state_known(*known, news, deadline).await,
        };
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

    /// Computes the effect of the statement on a person whom the ledger does not know. `takes_over` says whether this
    /// person takes over somebody's username.
    pub(super) async fn change_of_new(
        &self,
        person: &Person,
        takes_over: bool,
        news: &News,
        deadline: Deadline,
    ) -> Result<OfNew, LedgerError> {
        let mut change = self.change(person, news, deadline).await?;
        if let Some(user) = change.observed.as_ref().filter(|_| !takes_over && !person.given.taking_over) {
            let mut person = Person { flex_user_sid: Some(user.flex_user_sid.clone()), ..person.clone() };
            let due = self.due(&person, &self.kept(&person).await?, None);
            if !due.is_empty() {
                for (source, statement) in due {
                    adopt(&mut person, source, statement);
                }
                change = self.change(&person, news, deadline).await?;
            }
        }
        // Flex may spell the username differently from the source. The ledger may know the person under Flex's
        // spelling.
        if let Some(key) = change.observed.as_ref().map(|user| user.username.key())
            && key != person.username.key()
            && let Some(known) = self.people.person(&PersonKey::Username(key)).await?
        {
            let gives_access = news.statement.says_active() == Some(true);
            return match self.attached(known, news, gives_access, deadline).await? {
                Meant::Known(known) => Ok(OfNew::Known(Box::new(known))),
                // Refuse a takeover that was found only through Flex's spelling. For a takeover, the source must send
                // the exact username.
                _ => Err(AttachmentRefused::HeldByAnother(news.source.clone()).into()),
            };
        }
        Ok(OfNew::Change(Box::new(change)))
    }

    /// Ends the group memberships of the Flex user's previous owner. Also adds an empty SCIM statement if the person
    /// has none. As long as a SCIM statement exists, the ledger does not copy older data from the SCIM store, which is
    /// about the previous owner.
    async fn without_predecessor(&self, mut change: Change) -> Result<Change, LedgerError> {
        if let Some(user) = change.observed.as_ref().map(|user| &user.flex_user_sid) {
            self.leave_groups(user).await?;
        }
        let cause = EventId::from(u128::from_be_bytes(self.clock_rng.random()));
        let silent = Statement::in_full(self.clock_rng.now(), &cause);
        change.person.statements.entry(Source::Scim).or_insert(silent);
        Ok(change)
    }

    /// Ends the previous owner's access once more after the new owner was stored. A mint may have bound the previous
    /// owner's identity since the first time. A mint that comes even later checks the ledger with [`Ledger::confirm`],
    /// and finds the new owner there.
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
        // Store the username in Flex's spelling from the start.
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

    /// Computes the effect of the statement on the person. Returns an error if the statement must be refused.
    pub(super) async fn change(&self, before: &Person, news: &News, deadline: Deadline) -> Result<Change, LedgerError> {
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

/// Whether the ledger already holds everything in the statement, and Flex matches the ledger.
fn is_stale(person: &Person, news: &News) -> bool {
    let after = with(person, news);
    news.earlier == Earlier::Everything
        && person.is_settled()
        && after.statements == person.statements
        && after.subjects == person.subjects
}
