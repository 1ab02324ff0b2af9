//! Whose token it is: the person that claims are about, and people who used to have a username.

use super::{Ledger, LedgerError, TokenClaims};
use crate::domain::ledger::{AttachmentRefused, Person, PersonId, Statement};
use crate::domain::{FlexUser, SubjectId};
use crate::store::{PersonKey, Stating, Written};

/// The person that claims are about.
pub(super) struct Claimant {
    /// The person, if the ledger knows them.
    pub(super) person: Option<Person>,
    /// What the issuer calls them; `None` if the ledger has that subject for somebody else.
    pub(super) subject: Option<SubjectId>,
}

impl Ledger {
    /// Finds the person that the claims are about: first by `key`, their Flex user or their username. If `key` is a
    /// Flex user whom the ledger does not know, then by the issuer's subject, provided that person has no Flex user
    /// yet.
    pub(super) async fn claimant(&self, claims: &TokenClaims, key: PersonKey) -> Result<Claimant, LedgerError> {
        let person = self.people.person(&key).await?.filter(|person| !person.superseded);
        let Some(subject) = &claims.subject else { return Ok(Claimant { person, subject: None }) };
        let named = Some(subject.clone());
        if person.as_ref().is_some_and(|person| person.subjects.get(&claims.source) == Some(subject)) {
            return Ok(Claimant { person, subject: named });
        }
        let by_subject = PersonKey::Subject(claims.source.clone(), subject.clone());
        Ok(match (person, self.people.person(&by_subject).await?) {
            (person, None) => Claimant { person, subject: named },
            (None, Some(other))
                if matches!(key, PersonKey::FlexUser(_)) && !other.superseded && other.flex_user_sid.is_none() =>
            {
                Claimant { person: Some(other), subject: named }
            }
            (person, Some(_)) => Claimant { person, subject: None },
        })
    }

    /// Refuses the bearer of `claims` if somebody else took the username over from them.
    pub(super) async fn refuse_previous_owner(&self, claims: &TokenClaims) -> Result<(), LedgerError> {
        let Some(subject) = &claims.subject else { return Ok(()) };
        let bearer = self.people.person(&PersonKey::Subject(claims.source.clone(), subject.clone())).await?;
        let lost = |bearer: &Person| bearer.superseded && bearer.username.key() == claims.username.key();
        if bearer.as_ref().is_some_and(lost) {
            return Err(AttachmentRefused::HeldByAnother(claims.source.clone()).into());
        }
        Ok(())
    }

    /// Records what the issuer calls the person, without what it says about them. If somebody else takes the username
    /// over later, this tells their tokens from those of the new owner ([`Ledger::refuse_previous_owner`]).
    pub(super) async fn note_subject(
        &self,
        claims: &TokenClaims,
        subject: SubjectId,
        user: &FlexUser,
    ) -> Result<(), LedgerError> {
        let mut known = None;
        for key in [PersonKey::FlexUser(user.flex_user_sid.clone()), PersonKey::Username(user.username.key())] {
            if known.is_none() {
                known = self.people.person(&key).await?.filter(|person| !person.superseded);
            }
        }
        // If somebody else writes in between, the next mint tries again.
        let Some(mut person) = known else {
            let new = Person::new(PersonId::of(self.clock_rng.random()), user.username.clone());
            let mut new = Person { flex_user_sid: Some(user.flex_user_sid.clone()), ..new };
            new.statements.insert(claims.source.clone(), Statement::default());
            new.subjects.insert(claims.source.clone(), subject);
            // Nobody has said anything that Flex would have to be brought in step with.
            new.given.settled_at = 1;
            self.people.add(&new, None).await?;
            return Ok(());
        };
        let settled = person.is_settled();
        let statement = person.statements.entry(claims.source.clone()).or_default();
        let stating = Stating { source: &claims.source, statement, subject: Some(&subject), given: None };
        if let Written::Yes(version) = self.people.state(person.id, person.version, stating).await?
            && settled
        {
            person.version = version;
            self.note_settled(&person).await?;
        }
        Ok(())
    }
}
