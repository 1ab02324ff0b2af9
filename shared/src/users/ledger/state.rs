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

/// The maximum number of attempts at a write. An attempt fails if another process writes the same person first.
const TRIES: usize = 5;

/// What a new statement changes about a person and in Flex.
pub(super) struct Change {
    /// The person with the new statement.
    pub(super) person: Person,
    pub(super) observed: Option<FlexUser>,
    pub(super) desired: Desired,
    pub(super) plan: Plan,
}

/// The person whom a statement changes.
pub(super) enum Addressee {
    /// No person.
    Nobody,
    /// A person for whom there is nothing to do: the ledger already contains the statement, and Flex matches the
    /// ledger.
    Settled(Person),
    /// A person whom the ledger knows.
    Known(Person),
    /// A person whom the ledger does not know yet. The second value is the current owner of the username, if this
    /// person takes over the username.
    New(Person, Option<Box<Person>>),
}

/// The effect of a statement on a person whom the ledger does not know.
pub(super) enum OfNew {
    /// The statement causes this change.
    Change(Box<Change>),
    /// The ledger knows the person after all, under Flex's spelling of the username.
    Known(Box<Person>),
}

impl Ledger {
    /// Stores a source's statement and updates Flex. A refused statement is not stored. An accepted statement stays
    /// stored even if this call then fails to update Flex.
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

    /// Finds the person whom the statement changes. Returns an error if a statement that says "active" does not
    /// identify a person, or if this source must not change the person.
    pub(super) async fn addressee(&self, news: &News, deadline: Deadline) -> Result<Addressee, LedgerError> {
        let gives_access = news.statement.says_active() == Some(true);
        match self.meant(news, gives_access, deadline).await? {
            Meant::Nobody if gives_access => Err(PlanRefused::Incomplete("username").into()),
            Meant::Nobody => Ok(Addressee::Nobody),
            // This person has lost the username to somebody else. So refuse a statement that would give the person
            // access again. Any other statement changes nothing.
            Meant::Known(person) if person.superseded && gives_access => {
                Err(AttachmentRefused::HeldByAnother(news.source.clone()).into())
            }
            Meant::Known(person) if person.superseded => Ok(Addressee::Nobody),
            Meant::Known(person) if is_stale(&person, news) => Ok(Addressee::Settled(person)),
            Meant::Known(person) => Ok(Addressee::Known(person)),
            Meant::New(person, instead_of) => Ok(Addressee::New(person, instead_of)),
        }
    }

    /// Processes a statement about a person whom the ledger knows. Returns `None` if another process has changed the
    /// person.
    pub(super) async fn state_known(
        &self,
        person: Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        // Sessions end before any request to Twilio, so that a slow or failing request cannot keep them open.
        if let (Some(false), Some(sid)) = (news.statement.says_active(), &person.flex_user_sid) {
            self.provisioning.end_sessions_early(sid).await;
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
            // These two futures are large. Boxing them keeps the future of every caller small.
            let change =
                if person.given.taking_over { Box::pin(self.without_predecessor(change)).await? } else { change };
            Box::pin(self.add(change, instead_of, news.identity.as_ref(), deadline)).await
        }
        .await;
        self.unguard(locked).await?;
        done
    }

    /// Computes the effect of the statement on a person whom the ledger does not know. `takes_over` is true if this
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
        // Flex may spell the username differently from the source, and the ledger uses Flex's spelling.
        if let Some(key) = change.observed.as_ref().map(|user| user.username.key())
            && key != person.username.key()
            && let Some(known) = self.people.person(&PersonKey::Username(key)).await?
        {
            let gives_access = news.statement.says_active() == Some(true);
            return match self.attached(known, news, gives_access, deadline).await? {
                Meant::Known(known) => Ok(OfNew::Known(Box::new(known))),
                // The source's spelling differs from Flex's. A source can take over a username only by sending it in
                // Flex's spelling.
                _ => Err(AttachmentRefused::HeldByAnother(news.source.clone()).into()),
            };
        }
        Ok(OfNew::Change(Box::new(change)))
    }

    /// Ends the group memberships of the Flex user's previous owner. Also adds an empty SCIM statement if the person
    /// has no SCIM statement. Without any SCIM statement, the ledger would copy the previous owner's older data from
    /// the SCIM store.
    async fn without_predecessor(&self, mut change: Change) -> Result<Change, LedgerError> {
        if let Some(user) = change.observed.as_ref().map(|user| &user.flex_user_sid) {
            self.leave_groups(user).await?;
        }
        let cause = EventId::from(u128::from_be_bytes(self.clock_rng.random()));
        let silent = Statement::in_full(self.clock_rng.now(), &cause);
        change.person.statements.entry(Source::Scim).or_insert(silent);
        Ok(change)
    }

    /// Ends the previous owner's access a second time, after the new owner has been stored. In the meantime, a mint may
    /// have bound the previous owner to the Flex user again. A mint after this point finds the new owner in the ledger
    /// ([`Ledger::confirm`]).
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
        // The ledger stores the username in Flex's spelling.
        if let Some(user) = &change.observed {
            person.username = user.username.clone();
            person.flex_user_sid = Some(user.flex_user_sid.clone());
        }
        let Written::Yes(version) = self.people.add(&person, instead_of.as_deref()).await? else { return Ok(None) };
        let id = person.id;
        let change = Change { person: Person { version, ..person }, ..change };
        self.end_previous_access(&change, identity).await?;
        let lease = self.lease(id, deadline).await?;
        // Read the person again, because another process may have reconciled the person before this process got the
        // lease.
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

    /// Gives the Flex user to this person: ends a previous owner's access, and binds the identity that the source
    /// names. Fails if the Flex user is bound to somebody else.
    ///
    /// The caller must run all other checks before this call, and store the statement after it.
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

/// Whether the ledger already contains the whole statement and Flex matches the ledger.
fn is_stale(person: &Person, news: &News) -> bool {
    let after = with(person, news);
    news.earlier == Earlier::Everything
        && person.is_settled()
        && after.statements == person.statements
        && after.subjects == person.subjects
}
