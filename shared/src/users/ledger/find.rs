//! Finds the person whom a source's statement describes, and the Flex user of a person.

use super::news::with;
use super::{Earlier, Ledger, LedgerError, News};
use crate::base::outbound::Deadline;
use crate::domain::FlexUser;
use crate::domain::ledger::{Active, Attachment, AttachmentRefused, Desired, Person, PersonId, Plan, Source, attach};
use crate::store::PersonKey;
use crate::twilio::TwilioError;
use crate::users::in_full;

/// The person whom a source's statement describes.
pub(super) enum Meant {
    /// A person whom the ledger knows.
    Known(Person),
    /// A person whom the ledger does not know yet. The second value is the current owner of the username, if this
    /// person takes over the username.
    New(Person, Option<Box<Person>>),
    /// No person: the source sent too little to identify a person, or must not change the person that it named.
    Nobody,
}

impl Ledger {
    /// Finds the person whom `news` describes: first by the source's id, then by the bound or named Flex user, then
    /// by the username. `gives_access` is true for a statement that says "active".
    pub(super) async fn meant(
        &self,
        news: &News,
        gives_access: bool,
        deadline: Deadline,
    ) -> Result<Meant, LedgerError> {
        if let Some(subject) = &news.subject {
            let key = PersonKey::Subject(news.source.clone(), subject.clone());
            if let Some(person) = self.people.person(&key).await? {
                return if person.superseded && gives_access {
                    self.under_another_name(person, news, deadline).await
                } else {
                    Ok(Meant::Known(person))
                };
            }
        }
        let bound = match &news.identity {
            Some(identity) => self.provisioning.bindings().user_of(identity).await?,
            None => None,
        };
        let user = bound.or_else(|| news.flex_user_sid.clone());
        if let Some(user) = &user
            && let Some(person) = self.people.person(&PersonKey::FlexUser(user.clone())).await?
        {
            return self.attached(person, news, gives_access, deadline).await;
        }
        // If the statement does not say whether the person is active, do not look for a person by username, and do not
        // add a person to the ledger. The statement may describe somebody who has never been a Flex user.
        if user.is_none() && !gives_access && news.statement.says_active().is_none() {
            return Ok(Meant::Nobody);
        }
        let username = match (&news.username, &user) {
            (Some(username), _) => username.clone(),
            // A mint can bind an identity to a Flex user without writing to the ledger. So the ledger may have no
            // person for this Flex user.
            (None, Some(user)) if news.statement.says_active() == Some(false) => {
                match self.provisioning.flex().get(user, deadline).await {
                    Err(TwilioError::NotFound(_)) => return Ok(Meant::Nobody),
                    found => found?.username,
                }
            }
            (None, _) => return Ok(Meant::Nobody),
        };
        if let Some(person) = self.people.person(&PersonKey::Username(username.key())).await? {
            return self.attached(person, news, gives_access, deadline).await;
        }
        let id = PersonId::of(self.clock_rng.random());
        let unknown = Person { flex_user_sid: user, ..Person::new(id, username.clone()) };
        if news.earlier != Earlier::Nothing {
            return Ok(Meant::New(unknown, None));
        }
        // The ledger has no person with this username, but Flex may have a user with it.
        let user = self.left_by(&unknown, news, deadline).await?;
        let unknown = Person { flex_user_sid: user.map(|user| user.flex_user_sid), ..unknown };
        Ok(Meant::New(unknown.successor(id, self.clock_rng.now()), None))
    }

    /// Handles a subject who lost their username to somebody else and has a new username now.
    ///
    /// If the source says "active", the subject becomes a new person, provided that the new username is free. The
    /// statement is refused if another source says that the old person is inactive. An operator's statement about the
    /// old person has no effect here, because it was about the lost username.
    async fn under_another_name(&self, person: Person, news: &News, deadline: Deadline) -> Result<Meant, LedgerError> {
        let Some(username) = news.username.as_ref().filter(|username| username.key() != person.username.key()) else {
            return Ok(Meant::Known(person));
        };
        if with(&person, news).statements[&news.source].says_active() != Some(true) {
            return Ok(Meant::Known(person));
        }
        let others = |by: &&Source| **by != news.source && **by != Source::Operator;
        if let Some(by) = person.inactive_by().find(others) {
            return Err(AttachmentRefused::Inactive(by.clone()).into());
        }
        // A search in Flex does not show every user, so check the bindings, the ledger and the username index too.
        let is_bound = match &news.identity {
            Some(identity) => self.provisioning.bindings().user_of(identity).await?.is_some(),
            None => false,
        };
        if is_bound
            || self.people.person(&PersonKey::Username(username.key())).await?.is_some()
            || !self.usernames.seen(&username.key()).await?.is_empty()
        {
            return Ok(Meant::Known(person));
        }
        // Searches do not show every Flex user, so Flex may still have a user with this username. The new person must
        // inherit nothing from such a user, so make the new person the successor of an unknown owner.
        let id = PersonId::of(self.clock_rng.random());
        let anew = Person::new(id, username.clone()).successor(id, self.clock_rng.now());
        if self.flex_user(&anew, deadline).await?.is_some() {
            return Ok(Meant::Known(person));
        }
        Ok(Meant::New(anew, Some(Box::new(person))))
    }

    pub(super) async fn attached(
        &self,
        person: Person,
        news: &News,
        gives_access: bool,
        deadline: Deadline,
    ) -> Result<Meant, LedgerError> {
        if news.earlier == Earlier::Nothing {
            if is_taking_over(&person, news) {
                return Ok(Meant::Known(person));
            }
            if person.inactive_by().next().is_none() {
                self.left_by(&person, news, deadline).await?;
            }
            let successor = person.successor(PersonId::of(self.clock_rng.random()), self.clock_rng.now());
            return Ok(Meant::New(successor, Some(Box::new(person))));
        }
        match attach(&person, &news.source, news.subject.as_ref(), gives_access) {
            // The username belongs to another subject now. The statement gives no access, so ignore it instead of
            // refusing it.
            Err(_) if !gives_access => Ok(Meant::Nobody),
            Err(refused) => Err(refused.into()),
            Ok(Attachment::Same) => Ok(Meant::Known(person)),
            Ok(Attachment::NewPerson) => {
                let id = PersonId::of(self.clock_rng.random());
                Ok(Meant::New(person.successor(id, self.clock_rng.now()), Some(Box::new(person))))
            }
        }
    }

    /// Returns the Flex user of `person`, whose username somebody else wants to take over. Returns an error if
    /// `person` or the Flex user is still active, because `person` then keeps the username.
    async fn left_by(&self, person: &Person, news: &News, deadline: Deadline) -> Result<Option<FlexUser>, LedgerError> {
        let user = self.flex_user(person, deadline).await?;
        let is_active = user.as_ref().is_some_and(|user| !user.is_deactivated());
        if is_active || person.active_by().next().is_some() {
            return Err(AttachmentRefused::HeldByAnother(news.source.clone()).into());
        }
        Ok(user)
    }

    /// Returns the person's Flex user. Some fields may be missing, because Twilio may leave them out.
    pub(super) async fn flex_user(&self, person: &Person, deadline: Deadline) -> Result<Option<FlexUser>, LedgerError> {
        let flex = self.provisioning.flex();
        if let Some(sid) = &person.flex_user_sid {
            match flex.get(sid, deadline).await {
                Err(TwilioError::NotFound(_)) => {}
                Ok(user) if user.is_deactivated() => {
                    return Ok(Some(self.returned(person, deadline).await?.unwrap_or(user)));
                }
                found => return Ok(Some(found?)),
            }
        }
        let Some(found) = flex.find_alike(&person.username, deadline).await? else { return Ok(None) };
        Ok(Some(in_full(flex, found, deadline).await?))
    }

    /// Finds an active user for a person whose recorded Flex user is deactivated. If SSO or an administrator
    /// reactivates a person, the person may get a user with a new SID. Only the exact username matches, because a user
    /// with another spelling may be somebody else.
    async fn returned(&self, person: &Person, deadline: Deadline) -> Result<Option<FlexUser>, LedgerError> {
        let flex = self.provisioning.flex();
        let found = flex.search(&person.username, deadline).await?.into_iter();
        let mut found = found.filter(|user| user.username == person.username && !user.is_deactivated());
        let Some(user) = found.next() else { return Ok(None) };
        // If several users match, this is normally an error. But if the person must be deactivated, deactivating the
        // first match is better than leaving the person active.
        if found.next().is_some() && person.inactive_by().next().is_none() {
            return Err(TwilioError::Ambiguous.into());
        }
        let user = in_full(flex, user, deadline).await?;
        Ok(Some(user).filter(|user| !user.is_deactivated()))
    }
}

/// Whether an earlier attempt by the same source has already made `person` the new owner of the username, but has not
/// provisioned the person yet.
fn is_taking_over(person: &Person, news: &News) -> bool {
    person.given.taking_over
        && person.statements.iter().all(|(source, said)| *source == news.source || said.is_silent())
        && person.subjects.get(&news.source) == news.subject.as_ref()
        && person.inactive_by().next().is_none()
}

/// Computes the plan. Returns an error if Twilio did not send all fields of the user, because a missing field must not
/// count as an empty one. A deactivation needs no fields and is planned in any case.
pub(super) fn plan(person: &Person, desired: &Desired, observed: Option<&FlexUser>) -> Result<Plan, LedgerError> {
    if desired.active != Active::No && observed.is_some_and(|user| !user.is_complete()) {
        return Err(TwilioError::Malformed("the user is not described in full").into());
    }
    Ok(desired.plan(&person.username, observed)?)
}
