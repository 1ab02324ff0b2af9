//! Finds the person in the ledger who is the bearer of a token. Also refuses a token if another person has taken over
//! the bearer's username.

use super::{Ledger, LedgerError, TokenClaims};
use crate::domain::ledger::{AttachmentRefused, MayClaim, Person, PersonId};
use crate::domain::{FlexUser, FlexUserSid, Identity, SubjectId};
use crate::store::PersonKey;

/// The person in the ledger who is the bearer of a token.
pub(super) struct Claimant {
    /// The person. `None` if the ledger does not know the bearer.
    pub(super) person: Option<Person>,
    /// The issuer's id for the person. `None` if the ledger has recorded this id for somebody else.
    pub(super) subject: Option<SubjectId>,
}

impl Ledger {
    /// Finds the bearer of the claims by `key`, which is a Flex user or a username. If the ledger does not know the
    /// Flex user, finds the bearer by the issuer's id instead. In this case, accepts only a person who has no Flex user
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

    /// Refuses the bearer of `claims` if the settings do not allow the issuer to claim the person's Flex user. To claim
    /// a user is to bind one of the issuer's identities to this user. `person` is the user's entry in the ledger, and
    /// `found` is the user in Flex, to whom no identity is bound.
    pub(super) async fn refuse_unclaimable(
        &self,
        claims: &TokenClaims,
        person: Option<&Person>,
        found: Option<&FlexUser>,
    ) -> Result<(), LedgerError> {
        if *claims.may_claim == MayClaim::Everybody {
            return Ok(());
        }
        // The SCIM store may have data about the user that the ledger has not copied yet. So add this data before the
        // check.
        let sid = found.map(|user| user.flex_user_sid.clone());
        let mut known = person.cloned();
        if let (Some(sid), None) = (sid, person.and_then(|person| person.flex_user_sid.as_ref())) {
            let unknown = || Person::new(PersonId::of(self.clock_rng.random()), claims.username.clone());
            known.get_or_insert_with(unknown).flex_user_sid = Some(sid);
        }
        if let Some(known) = &mut known {
            let due = self.due(known, &self.kept(known).await?, None);
            known.statements.extend(due);
        }
        let own = &claims.source;
        claims.may_claim.check(own, known.as_ref(), found.is_some()).map_err(LedgerError::NotClaimable)
    }

    /// Binds the identity that a source names to an active Flex user, unless it is bound already. Returns
    /// [`LedgerError::Bound`] if the user is bound to another identity, or the identity to another user.
    pub async fn bind_active(&self, identity: &Identity, user: &FlexUser) -> Result<(), LedgerError> {
        if user.is_active() { self.bind(identity, &user.flex_user_sid).await } else { Ok(()) }
    }

    /// Refuses the bearer of `claims` if `owner` took over the username after the token was issued.
    ///
    /// A token without an issue time is refused for one day after the takeover. If the time of the takeover is
    /// unknown, a bearer who has lost this username is refused.
    pub(super) async fn refuse_previous_owner(
        &self,
        claims: &TokenClaims,
        owner: Option<&Person>,
    ) -> Result<(), LedgerError> {
        let refused = || Err(AttachmentRefused::HeldByAnother(claims.source.clone()).into());
        if let Some(since) = owner.and_then(|owner| owner.given.owner_since) {
            return if claims.may_be_older_than(since) { refused() } else { Ok(()) };
        }
        let Some(subject) = &claims.subject else { return Ok(()) };
        let bearer = self.people.person(&PersonKey::Subject(claims.source.clone(), subject.clone())).await?;
        let lost = |bearer: &Person| bearer.superseded && bearer.username.key() == claims.username.key();
        if bearer.as_ref().is_some_and(lost) { refused() } else { Ok(()) }
    }

    /// Checks for a takeover again after `identity` has been bound to `user`. Removes the binding and returns an
    /// error if somebody has taken over the username since, or if the check fails.
    pub async fn confirm(
        &self,
        claims: &TokenClaims,
        identity: &Identity,
        user: &FlexUserSid,
    ) -> Result<(), LedgerError> {
        let confirmed = async {
            let owner = self.people.person(&PersonKey::Username(claims.username.key())).await?;
            self.refuse_previous_owner(claims, owner.as_ref()).await
        };
        let confirmed = confirmed.await;
        if confirmed.is_err() {
            self.provisioning.bindings().unbind_identity(identity, user).await?;
        }
        confirmed
    }
}
