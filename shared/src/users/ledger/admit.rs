//! Just-in-time provisioning: if the bearer of a token has no Flex user, Flexgate creates one.
//!
//! Flexgate creates the user only if the username is free. It is free if neither a search in Flex, nor the ledger, nor
//! the username index shows a user with the same name, regardless of case.
//!
//! All three can miss a user whom somebody recently deactivated in the Console. Twilio's create request would then
//! reactivate that user. So Flexgate checks the dates in Twilio's answer before it binds anybody to the user.

use time::OffsetDateTime;

use super::claims::{TRIES, refuse_inactive};
use super::find::plan;
use super::given_back::{is_being_made, was_there_before};
use super::state::Change;
use super::{Ledger, LedgerError, Outcome, Report, TokenClaims};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{
    Active, Attachment, AttachmentRefused, Desired, Given, Person, PersonId, Plan, Step, attach, desired,
};
use crate::domain::policy::JustInTime;
use crate::domain::{FlexUser, FlexUserSid, SubjectId};
use crate::store::{Noting, PersonKey, SeenUser, Written};

impl Ledger {
    /// Finds or creates the Flex user for the bearer of `claims`, whose identity is not bound yet. The caller must
    /// bind the identity to the returned user, who is active.
    ///
    /// `found` is the result of a search for exactly the username in the claims, and `began` is when that search
    /// began.
    pub async fn admit(
        &self,
        claims: &TokenClaims,
        found: Option<&FlexUser>,
        began: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Admitted, LedgerError> {
        for _ in 0..TRIES {
            // The index must be read before the ledger. A concurrent mint writes a new user to the ledger before the
            // index, so a user in the index is also in the ledger.
            let seen = match found {
                None => self.usernames.seen(&claims.username.key()).await?,
                Some(_) => Vec::new(),
            };
            let claimant = self.claimant(claims, PersonKey::Username(claims.username.key())).await?;
            let (person, subject) = (claimant.person, claimant.subject.as_ref());
            self.refuse_previous_owner(claims, person.as_ref()).await?;
            self.refuse_unclaimable(claims, person.as_ref(), found).await?;
            if let Some(user) = found {
                // An earlier mint may have created this user without getting Twilio's answer. In this case, this mint
                // continues the creation.
                let creates = self.policy.just_in_time != JustInTime::Off;
                let Some(person) = person.filter(|person| creates && is_being_made(person)) else {
                    return Ok(Admitted { user: user.flex_user_sid.clone(), created: false });
                };
                match Box::pin(self.admit_known(person.id, claims, subject, began, deadline)).await? {
                    Some(report) => return admitted(report),
                    None => continue,
                }
            }
            let own = person.as_ref().and_then(|person| person.flex_user_sid.as_ref());
            if seen.iter().any(|user| Some(&user.flex_user_sid) != own)
                || self.is_spelt_otherwise(claims, deadline).await?
            {
                return Err(AttachmentRefused::NameTaken.into());
            }
            let done = match person {
                // These futures are large. Boxing them keeps the future of every mint small.
                Some(person) => Box::pin(self.admit_known(person.id, claims, subject, began, deadline)).await?,
                None => Box::pin(self.admit_new(claims, subject, began, deadline)).await?,
            };
            if let Some(report) = done {
                return admitted(report);
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// Records the user in the username index if the user has become active or inactive. `was_active` is the earlier
    /// state. If it is `None`, the user is always recorded.
    pub(super) async fn note_seen(&self, was_active: Option<bool>, user: Option<&FlexUser>) -> Result<(), LedgerError> {
        let Some(user) = user.filter(|user| was_active != Some(user.is_active())) else { return Ok(()) };
        self.see(user).await
    }

    /// Records a user in the username index: the username, and whether the user is active in Flex.
    pub async fn see(&self, user: &FlexUser) -> Result<(), LedgerError> {
        let seen = SeenUser {
            key: user.username.key(),
            username: user.username.clone(),
            flex_user_sid: user.flex_user_sid.clone(),
            active: user.is_active(),
        };
        Ok(self.usernames.put_seen(&[seen], self.clock_rng.now()).await?)
    }

    /// Records that Flex matches the current version of the person.
    pub(super) async fn note_settled(&self, person: &Person) -> Result<Written, LedgerError> {
        let given = Given { settled_at: person.version + 1, ..person.given.clone() };
        let sid = person.flex_user_sid.as_ref();
        let noting = Noting { given: &given, flex_user_sid: sid, username: &person.username };
        Ok(self.people.note(person.id, person.version, noting).await?)
    }

    /// Whether Flex has a user with the claimed username in folded form (lower case, NFC). If the claimed username is
    /// already folded, returns false without a search, because the caller has searched for it and found no user.
    async fn is_spelt_otherwise(&self, claims: &TokenClaims, deadline: Deadline) -> Result<bool, LedgerError> {
        match claims.username.key().as_str().parse() {
            Ok(folded) if folded != claims.username => {
                Ok(self.provisioning.flex().find(&folded, deadline).await?.is_some())
            }
            _ => Ok(false),
        }
    }

    async fn admit_known(
        &self,
        id: PersonId,
        claims: &TokenClaims,
        subject: Option<&SubjectId>,
        began: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let lease = self.lease(id, deadline).await?;
        let done = self.admit_under_lease(id, claims, subject, began, deadline).await;
        self.finish(lease, id, done, deadline).await
    }

    async fn admit_under_lease(
        &self,
        id: PersonId,
        claims: &TokenClaims,
        subject: Option<&SubjectId>,
        began: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        let Some(before) = self.people.person(&PersonKey::Id(id)).await? else { return Ok(None) };
        if before.superseded {
            return Ok(None);
        }
        if attach(&before, &claims.source, claims.subject.as_ref(), true)? == Attachment::NewPerson {
            return Err(AttachmentRefused::HeldByAnother(claims.source.clone()).into());
        }
        let Some(before) = self.projected(before, None).await? else { return Ok(None) };
        let observed = self.flex_user(&before, deadline).await?;
        if let Some(user) = &observed {
            if user.username != claims.username {
                return Err(AttachmentRefused::NameTaken.into());
            }
            if !user.is_active() {
                return Err(AttachmentRefused::Deactivated(user.flex_user_sid.clone()).into());
            }
            if !is_being_made(&before) {
                let report = Report { user: observed, ..Report::nothing(Outcome::Unchanged) };
                return Ok(Some((report, before.version)));
            }
        }
        let added = claims.added_to(&before, subject);
        let is_news = added.is_some();
        let mut person = added.unwrap_or(before);
        let (desired, plan) = self.newcomer(&person, claims, observed.as_ref(), began)?;
        if is_news {
            match self.state_claims(&person, claims, subject).await? {
                Written::Yes(version) => person.version = version,
                Written::Moved => return Ok(None),
            }
        }
        if desired.given != person.given {
            let sid = person.flex_user_sid.as_ref();
            let noting = Noting { given: &desired.given, flex_user_sid: sid, username: &person.username };
            match self.people.note(person.id, person.version, noting).await? {
                Written::Yes(version) => (person.version, person.given) = (version, desired.given.clone()),
                Written::Moved => return Ok(None),
            }
        }
        let change = Change { person, observed, desired, plan };
        let locked = self.guard(&change, deadline).await?;
        let made = self.make(change, deadline).await;
        self.unguard(locked).await?;
        made
    }

    async fn admit_new(
        &self,
        claims: &TokenClaims,
        subject: Option<&SubjectId>,
        began: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let new = Person::new(PersonId::of(self.clock_rng.random()), claims.username.clone());
        let mut person = claims.added_to(&new, subject).unwrap_or(new);
        let (desired, plan) = self.newcomer(&person, claims, None, began)?;
        // Before the request to Twilio, store which roles Flexgate gives. Otherwise a crash could lose this record.
        person.given = desired.given.clone();
        match self.people.add(&person, None).await? {
            Written::Yes(version) => person.version = version,
            Written::Moved => return Ok(None),
        }
        let (id, version) = (person.id, person.version);
        let lease = self.lease(id, deadline).await?;
        let now = self.people.person(&PersonKey::Id(id)).await;
        let done = match now {
            Ok(Some(now)) if now.version == version => {
                self.make(Change { person, observed: None, desired, plan }, deadline).await
            }
            // Another mint for the same person got the lease first, and has changed the person.
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        };
        self.finish(lease, id, done, deadline).await
    }

    /// Computes the desired state and the plan for a new Flex user. The user becomes active, although the claims of a
    /// token never state "active".
    fn newcomer(
        &self,
        person: &Person,
        claims: &TokenClaims,
        observed: Option<&FlexUser>,
        began: OffsetDateTime,
    ) -> Result<(Desired, Plan), LedgerError> {
        let desired = desired(person, &self.policy, observed, &self.minting(claims));
        let mut desired = desired.ok_or(LedgerError::LOST_RACE)?;
        refuse_inactive(&desired)?;
        if desired.active != Active::Yes {
            desired.active = Active::Yes;
            desired.given.asked_since = person.given.asked_since.or(Some(began));
        }
        let plan = plan(person, &desired, observed)?;
        Ok((desired, plan))
    }

    /// Creates the Flex user, unless an earlier mint has created it, and records that Flex matches the ledger. Before
    /// this call, the caller must store which roles Flexgate gives.
    async fn make(&self, change: Change, deadline: Deadline) -> Result<Option<(Report, u64)>, LedgerError> {
        let Change { person, observed, mut desired, plan } = change;
        let since = desired.given.asked_since.take();
        let created = observed.is_none();
        let (user, plan) = match observed {
            Some(user) => (user, plan),
            None => match self.send(plan.step, None, deadline).await {
                Ok((_, Some(user))) => (user, Plan { step: Step::Nothing, ..plan }),
                Ok((_, None)) => return Err(LedgerError::LOST_RACE),
                Err(error) => {
                    if matches!(error, LedgerError::StaysDeactivated) {
                        self.withdraw_claims(&person, None).await?;
                    }
                    return Err(error);
                }
            },
        };
        let user = self.dated(user, deadline).await?;
        if let Some(since) = since
            && was_there_before(&user, since, self.clock_rng.now())?
        {
            let sid = user.flex_user_sid.clone();
            Box::pin(self.give_back(&person, user, deadline)).await?;
            return Err(AttachmentRefused::BroughtBack(sid).into());
        }
        if created && let Some(attributes) = desired.attributes.take() {
            desired.given.attributes = attributes;
        }
        self.see(&user).await?;
        let brought = self.bring(Change { person, observed: Some(user), desired, plan }, None, deadline).await?;
        Ok(brought.map(|(report, version)| {
            let outcome = if created { Outcome::Created } else { report.outcome };
            (Report { outcome, ..report }, version)
        }))
    }
}

/// The Flex user to which the caller must bind the identity of the token's bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The SID of the user.
    pub user: FlexUserSid,
    /// Whether this mint created the user.
    pub created: bool,
}

fn admitted(report: Report) -> Result<Admitted, LedgerError> {
    let user = report.user.ok_or(LedgerError::LOST_RACE)?;
    Ok(Admitted { user: user.flex_user_sid, created: report.outcome == Outcome::Created })
}
