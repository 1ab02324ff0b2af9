//! Statements: found a person, validated, written.

use super::find::{Meant, plan};
use super::{Ledger, LedgerError, News, Outcome, Report};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{
    Active, AttachmentRefused, Desired, Person, PersonId, Plan, PlanRefused, Said, Source, Statement, desired,
};
use crate::domain::{EventId, FlexUser, FlexUserSid, RoleSet, Username};
use crate::store::{PersonKey, Stating, Written};

/// A write that loses a race is tried again this often.
const TRIES: usize = 5;

/// What a source says about a person whom it writes to Flex itself.
#[derive(Debug, Clone)]
pub struct Note<'a> {
    /// Who says it.
    pub source: Source,
    /// The person's Flex username.
    pub username: &'a Username,
    /// The person's Flex user, if there is one.
    pub user: Option<&'a FlexUserSid>,
    /// Whether the person is active, if that is said.
    pub active: Option<bool>,
    /// Every role that the source gives, if that is said.
    pub roles: Option<RoleSet>,
    /// The request that says it.
    pub cause: &'a EventId,
}

/// What a person becomes with a new statement.
pub(super) struct Change {
    /// The person, the statement included.
    pub(super) person: Person,
    pub(super) observed: Option<FlexUser>,
    pub(super) desired: Desired,
    pub(super) plan: Plan,
}

impl Ledger {
    /// Takes what a source says, and brings Flex in step with it. A statement that is refused leaves nothing behind;
    /// one that is taken is durable, even where an error says that Flex could not be brought in step.
    pub async fn state(&self, news: &News, deadline: Deadline) -> Result<Report, LedgerError> {
        let gives_access = news.statement.says_active() == Some(true);
        for _ in 0..TRIES {
            let reported = match self.meant(news, gives_access).await? {
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
        Err(LedgerError::Busy)
    }

    /// Writes down what a source says about a person's activity and roles, and leaves it to the caller to bring Flex in
    /// step. Refuses "active" while another source says "inactive".
    pub async fn note(&self, note: Note<'_>) -> Result<(), LedgerError> {
        let now = self.ambient.now();
        let names = |roles: &RoleSet| roles.iter().map(|role| role.as_str().into()).collect();
        let statement = Statement {
            active: note.active.map(|active| Said::access(now, note.cause, active)),
            roles: note.roles.as_ref().map(|roles| Said::new(now, note.cause, names(roles))),
            ..Statement::default()
        };
        let news = News {
            source: note.source,
            subject: None,
            identity: None,
            username: Some(note.username.clone()),
            flex_user_sid: note.user.cloned(),
            statement,
        };
        for _ in 0..TRIES {
            let (person, new) = match self.named(&news).await? {
                Some(person) => (person, false),
                None => (Person::new(PersonId::of(self.ambient.random()), note.username.clone()), true),
            };
            if let Some(by) = person.inactive_by().find(|by| **by != news.source).filter(|_| note.active == Some(true))
            {
                return Err(LedgerError::InactiveBy(by.clone()));
            }
            let known = person.statements.get(&news.source);
            let said = known.and_then(|known| known.roles.as_ref()).map(|said| &said.value);
            let same_roles = match (&news.statement.roles, said) {
                (Some(new), Some(said)) => new.value == *said,
                (Some(new), None) => new.value.is_empty(),
                (None, _) => true,
            };
            if same_roles && (note.active.is_none() || known.and_then(Statement::says_active) == note.active) {
                return Ok(());
            }
            let person = with(&person, &news);
            let written = if new {
                self.people.add(&person, None).await?
            } else {
                let statement = &person.statements[&news.source];
                let stating = Stating { source: &news.source, statement, subject: None };
                self.people.state(person.id, person.version, stating).await?
            };
            if let Written::Yes(_) = written {
                return Ok(());
            }
        }
        Err(LedgerError::Busy)
    }

    /// Whether any source holds the person inactive who is that Flex user, whatever Flex shows.
    pub async fn holds_inactive(&self, user: &FlexUserSid, username: &Username) -> Result<bool, LedgerError> {
        let keys = [PersonKey::FlexUser(user.clone()), PersonKey::Username(username.key())];
        Ok(self.people.people(&keys).await?.iter().any(|person| person.inactive_by().next().is_some()))
    }

    /// The person of that Flex user, or else of that username.
    async fn named(&self, news: &News) -> Result<Option<Person>, LedgerError> {
        if let Some(user) = &news.flex_user_sid
            && let Some(person) = self.people.person(&PersonKey::FlexUser(user.clone())).await?
        {
            return Ok(Some(person));
        }
        match &news.username {
            Some(username) => Ok(self.people.person(&PersonKey::Username(username.key())).await?),
            None => Ok(None),
        }
    }

    /// `None` if somebody else has written meanwhile.
    async fn state_known(
        &self,
        person: Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        // Taking access away comes first, whatever Twilio is up to.
        if let (Some(false), Some(sid)) = (news.statement.says_active(), &person.flex_user_sid) {
            self.provisioning.sessions().end_all_of(sid).await?;
        }
        let lease = self.lease(person.id, deadline).await?;
        let done = self.state_under_lease(&person, news, deadline).await;
        self.finish(lease, person.id, done, deadline).await
    }

    async fn state_under_lease(
        &self,
        seen: &Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        let Some(before) = self.people.person(&PersonKey::Id(seen.id)).await? else { return Ok(None) };
        if before.superseded {
            return Ok(None);
        }
        let change = self.change(&before, news, deadline).await?;
        let locked = self.guard(&change, deadline).await?;
        let done = async {
            let stating = Stating {
                source: &news.source,
                statement: &change.person.statements[&news.source],
                subject: news.subject.as_ref(),
            };
            let version = match self.people.state(before.id, before.version, stating).await? {
                Written::Yes(version) => version,
                Written::Moved => return Ok(None),
            };
            let change = Change { person: Person { version, ..change.person }, ..change };
            self.bring(change, news.identity.as_ref(), deadline).await
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
        // Flex may spell the username otherwise than the source, and the ledger may know that person.
        if let Some(key) = change.observed.as_ref().map(|user| user.username.key())
            && key != person.username.key()
            && let Some(known) = self.people.person(&PersonKey::Username(key)).await?
        {
            let gives_access = news.statement.says_active() == Some(true);
            return match self.attached(known, news, gives_access)? {
                Meant::Known(known) => self.state_known(known, news, deadline).await,
                // A username changes hands by name alone.
                _ => Err(AttachmentRefused::HeldByAnother(news.source.clone()).into()),
            };
        }
        let locked = self.guard(&change, deadline).await?;
        let done = self.add(change, instead_of, news, deadline).await;
        self.unguard(locked).await?;
        done
    }

    async fn add(
        &self,
        change: Change,
        instead_of: Option<Box<Person>>,
        news: &News,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let mut person = change.person;
        // The ledger knows the person under Flex's spelling from the start.
        if let Some(user) = &change.observed {
            person.username = user.username.clone();
            person.flex_user_sid = Some(user.flex_user_sid.clone());
        }
        let Written::Yes(version) = self.people.add(&person, instead_of.as_deref()).await? else { return Ok(None) };
        let id = person.id;
        let lease = self.lease(id, deadline).await?;
        let change = Change { person: Person { version, ..person }, ..change };
        // Somebody else may have reconciled the person before the lease was had.
        let now = self.people.person(&PersonKey::Id(id)).await;
        let done = match now {
            Ok(Some(now)) if now.version == version => self.bring(change, news.identity.as_ref(), deadline).await,
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        };
        self.finish(lease, id, done, deadline).await
    }

    /// What the person becomes with the statement, unless it must be refused.
    async fn change(&self, before: &Person, news: &News, deadline: Deadline) -> Result<Change, LedgerError> {
        let person = with(before, news);
        let observed = self.flex_user(&person, deadline).await?;
        let desired = desired(&person, &self.policy, observed.as_ref(), &self.occasion());
        let desired = desired.ok_or(LedgerError::Busy)?;
        let contradicts = news.statement.says_active() == Some(true) && desired.active == Active::No;
        if contradicts && !matches!(news.source, Source::Webhook(_)) {
            let by = desired.explanation.inactive_by.iter().find(|by| **by != news.source);
            if let Some(by) = by {
                return Err(LedgerError::InactiveBy(by.clone()));
            }
        }
        let plan = plan(&person, &desired, observed.as_ref())?;
        if let (Some(identity), Some(user)) = (&news.identity, &observed)
            && desired.active != Active::No
        {
            // Before anything is written: the Flex user may turn out to be somebody else's.
            self.bind(identity, &user.flex_user_sid).await?;
        }
        Ok(Change { person, observed, desired, plan })
    }

    /// Takes the administrators' lock if the change takes one away, and refuses if that is the last.
    pub(super) async fn guard(&self, change: &Change, deadline: Deadline) -> Result<bool, LedgerError> {
        let Some(user) = change.observed.as_ref() else { return Ok(false) };
        if !self.takes_an_admin(Some(user), &change.desired) {
            return Ok(false);
        }
        self.lock_admins(deadline).await?;
        match self.another_admin(user, deadline).await {
            Ok(()) => Ok(true),
            Err(error) => {
                self.unlock_admins().await?;
                Err(error)
            }
        }
    }

    pub(super) async fn unguard(&self, locked: bool) -> Result<(), LedgerError> {
        if locked { self.unlock_admins().await } else { Ok(()) }
    }
}

/// Whoever lost the username to somebody else gets nothing by it, and there is nothing to take away from them.
fn superseded(source: &Source, gives_access: bool) -> Result<Report, LedgerError> {
    if gives_access {
        return Err(AttachmentRefused::HeldByAnother(source.clone()).into());
    }
    Ok(Report::nothing(Outcome::NoUser))
}

/// The person once the statement is taken.
fn with(before: &Person, news: &News) -> Person {
    let mut person = before.clone();
    let statement = person.statements.entry(news.source.clone()).or_default();
    let said = match news.source {
        Source::Webhook(_) | Source::Claims(_) => news.statement.clone(),
        // These are answered at once, so what is said now counts now.
        _ => news.statement.clone().made_after(statement.latest()),
    };
    statement.merge(said);
    if let Some(subject) = &news.subject {
        person.subjects.insert(news.source.clone(), subject.clone());
    }
    person
}

/// Whether the ledger holds everything that is said, and Flex was brought in step with it.
fn is_stale(person: &Person, news: &News) -> bool {
    let after = with(person, news);
    person.is_settled() && after.statements == person.statements && after.subjects == person.subjects
}
