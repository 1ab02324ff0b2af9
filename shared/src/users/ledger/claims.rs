//! Treats the claims of a token as a statement about the token's bearer, and updates the bearer's Flex user.
//!
//! The latest token replaces the issuer's whole statement. A token with the same claims replaces the statement only
//! if it was issued at least a day later. So the claims of an active bearer never expire ([`CLAIMS_LAST`]), and most
//! mints write nothing to the store.
//!
//! [`CLAIMS_LAST`]: crate::domain::ledger::CLAIMS_LAST

use std::collections::BTreeSet;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::find::plan;
use super::state::Change;
use super::{Ledger, LedgerError, Outcome, Report};
use crate::authn::LEEWAY;
use crate::base::clock_rng::ClockRng;
use crate::base::outbound::Deadline;
use crate::domain::ledger::{
    Active, Desired, MayClaim, Occasion, Person, PersonId, Plan, PlanRefused, Said, Source, Statement, Step, desired,
};
use crate::domain::policy::JustInTime;
use crate::domain::{Caller, Email, EventId, FlexUser, FlexUserSid, FullName, Role, RoleSet, SubjectId, Username};
use crate::store::{PersonKey, Stating, Written};

/// A token with unchanged claims replaces the stored statement only if it was issued at least this much later.
const RENEWED_AFTER: Duration = Duration::DAY;

/// The maximum number of attempts at a write. An attempt fails if another process writes the same person first.
pub(super) const TRIES: usize = 5;

/// The claims of a verified token, as a statement about its bearer.
#[derive(Debug, Clone)]
pub struct TokenClaims {
    /// The source of the statement: the claims of the token's issuer.
    pub(super) source: Source,
    /// The issuer's id of the bearer.
    pub(super) subject: Option<SubjectId>,
    /// The username that the settings derive from the claims.
    pub(super) username: Username,
    /// When the token was issued. `None` if the token does not say.
    issued_at: Option<OffsetDateTime>,
    /// The moment of the statement: the time of issue, but not later than now.
    at: OffsetDateTime,
    statement: Statement,
    /// The unbound Flex users that the issuer may claim.
    pub(super) may_claim: Arc<MayClaim>,
}

/// The result of updating a Flex user from the claims of a token.
#[derive(Debug)]
pub struct Followed {
    /// The user after the update.
    pub user: FlexUser,
    /// Whether the update changed the user.
    pub changed: bool,
}

impl TokenClaims {
    /// Converts the token of `caller` into a statement. `roles` are the roles that the token gives. If the token names
    /// no roles, the statement does not mention roles at all.
    #[must_use]
    pub fn of(caller: &Caller, username: &Username, roles: &RoleSet, clock_rng: &ClockRng) -> Self {
        let (now, id) = (clock_rng.now(), EventId::from(u128::from_be_bytes(clock_rng.random())));
        // If the issuer's clock is fast, the time of issue can be in the future. In this case, use the current time.
        // Otherwise the bearer's next tokens could look older than this one.
        let at = caller.issued_at.map_or(now, |issued_at| issued_at.min(now));
        // Include role names that Flexgate does not know, so that `explain` shows them.
        let unknown = caller.unused.role_names().filter(|name| Role::in_any_case(name).is_none()).map(Box::from);
        let names: BTreeSet<Box<str>> = roles.iter().map(|role| role.as_str().into()).chain(unknown).collect();
        let statement = Statement {
            roles: (!names.is_empty()).then(|| Said::new(at, &id, names)),
            email: caller.verified_email.clone().map(|email| Said::new(at, &id, Some(email))),
            full_name: caller.full_name.clone().map(|name| Said::new(at, &id, Some(name))),
            ..Statement::in_full(at, &id)
        };
        Self {
            source: Source::Claims(caller.identity.issuer.clone()),
            subject: caller.identity.subject.parse().ok(),
            username: username.clone(),
            issued_at: caller.issued_at,
            at,
            statement,
            may_claim: caller.limits.may_claim.clone(),
        }
    }

    /// Whether these claims need not be stored, because the claims `earlier` of the same subject are stored already.
    /// This is true if these claims are older, or if they have the same content and are less than a day newer.
    #[must_use]
    pub fn add_nothing_to(&self, earlier: &Self) -> bool {
        !self.is_newer_than(&earlier.statement)
    }

    /// Whether these claims must be stored. `stated` is the stored statement from earlier tokens of the same subject.
    fn is_newer_than(&self, stated: &Statement) -> bool {
        let Some(last) = stated.latest() else { return true };
        // Issue times are whole seconds, so two tokens can have the same issue time. Of these two, the token that
        // arrives later wins.
        self.at >= last.at && (content(stated) != content(&self.statement) || self.at - last.at >= RENEWED_AFTER)
    }

    /// Whether the token may have been issued before `since`. The issuer's clock may be ahead by up to [`LEEWAY`].
    pub(super) fn may_be_older_than(&self, since: OffsetDateTime) -> bool {
        match self.issued_at {
            Some(issued_at) => issued_at < since + LEEWAY,
            None => self.at < since + Duration::DAY,
        }
    }

    /// Returns the person with these claims added, or `None` if the claims add nothing. If the stored claims are about
    /// another subject, these claims replace them. In this case, the caller must first check that the person now
    /// belongs to the new subject.
    pub(super) fn added_to(&self, person: &Person, subject: Option<&SubjectId>) -> Option<Person> {
        let stated = person.statements.get(&self.source);
        let same_subject = subject.is_none() || person.subjects.get(&self.source) == subject;
        if same_subject && stated.is_some_and(|stated| !self.is_newer_than(stated)) {
            return None;
        }
        let mut person = person.clone();
        person.statements.insert(self.source.clone(), self.statement.clone());
        if let Some(subject) = subject {
            person.subjects.insert(self.source.clone(), subject.clone());
        }
        Some(person)
    }

    fn issuer(&self) -> Option<&str> {
        match &self.source {
            Source::Claims(issuer) => Some(issuer),
            _ => None,
        }
    }
}

type Content<'a> = (Option<&'a BTreeSet<Box<str>>>, Option<&'a Email>, Option<&'a FullName>);

/// Returns the statement's values, without the times at which they were stated.
fn content(statement: &Statement) -> Content<'_> {
    let email = statement.email.as_ref().and_then(|said| said.value.as_ref());
    let full_name = statement.full_name.as_ref().and_then(|said| said.value.as_ref());
    (statement.roles.as_ref().map(|said| &said.value), email, full_name)
}

impl Ledger {
    /// Updates the Flex user `user`, which is bound to the bearer of `claims`, as far as just-in-time provisioning
    /// allows. A deactivated user is returned unchanged, because claims never reactivate anybody.
    ///
    /// In the mode `create`, this only renews the stored claims from which the user was created, so that they do not
    /// expire. If they have expired already, this updates the user as in the mode `create-and-sync`.
    ///
    /// Returns [`LedgerError::InactiveBy`] if a source says that the person is inactive.
    pub async fn follow(
        &self,
        claims: &TokenClaims,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<Followed, LedgerError> {
        if self.policy.just_in_time != JustInTime::CreateAndSync
            && let Some(user) = self.keep_claims(claims, user, deadline).await?
        {
            return Ok(Followed { user, changed: false });
        }
        for _ in 0..TRIES {
            let claimant = self.claimant(claims, PersonKey::FlexUser(user.clone())).await?;
            let done = match &claimant.person {
                Some(person) if person.is_settled() && claims.added_to(person, claimant.subject.as_ref()).is_none() => {
                    let found = self.provisioning.flex().get(user, deadline).await?;
                    let judged = self.judged(person, claims, &found)?;
                    if judged.is_none_or(|(_, plan)| plan.step == Step::Nothing) {
                        return Ok(Followed { user: found, changed: false });
                    }
                    // These futures are large. Boxing them keeps the future of every mint small.
                    Box::pin(self.follow_known(person.id, claims, claimant.subject.as_ref(), user, deadline)).await?
                }
                Some(person) => {
                    Box::pin(self.follow_known(person.id, claims, claimant.subject.as_ref(), user, deadline)).await?
                }
                None => Box::pin(self.follow_new(claims, claimant.subject, user, deadline)).await?,
            };
            if let Some(Report { outcome, user: Some(user), .. }) = done {
                return Ok(Followed { user, changed: outcome != Outcome::Unchanged });
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// Returns the [`Occasion`] for a mint by the bearer of `claims`. The function
    /// [`desired`](crate::domain::ledger::desired) takes this value as an argument.
    pub(super) fn minting<'a>(&self, claims: &'a TokenClaims) -> Occasion<'a> {
        Occasion { minting_for: claims.issuer(), ..self.occasion() }
    }

    /// Computes the changes that make `user` match all statements about the person, including these claims. Returns
    /// `None` if the user must not be changed, for example because the user is deactivated.
    fn judged(
        &self,
        person: &Person,
        claims: &TokenClaims,
        user: &FlexUser,
    ) -> Result<Option<(Desired, Plan)>, LedgerError> {
        let Some(desired) = desired(person, &self.policy, Some(user), &self.minting(claims)) else { return Ok(None) };
        refuse_inactive(&desired)?;
        if user.is_deactivated() || !user.is_complete() {
            return Ok(None);
        }
        let shown = user.roles.as_ref();
        match plan(person, &desired, Some(user)) {
            // Flexgate cannot plan an update without a valid e-mail address and full name. The person can still get a
            // token, unless the Flex user has a role that must be removed.
            Err(LedgerError::Plan(PlanRefused::Incomplete(_)))
                if shown.is_some_and(|shown| shown.known().is_subset(&desired.roles)) =>
            {
                Ok(None)
            }
            plan => Ok(Some((desired, plan?))),
        }
    }

    async fn follow_known(
        &self,
        id: PersonId,
        claims: &TokenClaims,
        subject: Option<&SubjectId>,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let lease = self.lease(id, deadline).await?;
        let done = self.follow_under_lease(id, claims, subject, user, deadline).await;
        self.finish(lease, id, done, deadline).await
    }

    async fn follow_under_lease(
        &self,
        id: PersonId,
        claims: &TokenClaims,
        subject: Option<&SubjectId>,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        let Some(before) = self.people.person(&PersonKey::Id(id)).await? else { return Ok(None) };
        if before.superseded {
            return Ok(None);
        }
        let Some(before) = self.projected(before, None).await? else { return Ok(None) };
        let found = self.provisioning.flex().get(user, deadline).await?;
        let added = claims.added_to(&before, subject);
        let is_news = added.is_some();
        let person = added.unwrap_or(before);
        let Some((desired, plan)) = self.judged(&person, claims, &found)? else {
            return Ok(Some((unchanged(found), person.version)));
        };
        let mut change = Change { person, observed: Some(found), desired, plan };
        let locked = self.guard(&change, deadline).await?;
        let done = async {
            if is_news {
                match self.state_claims(&change.person, claims, subject).await? {
                    Written::Yes(version) => change.person.version = version,
                    Written::Moved => return Ok(None),
                }
            }
            self.bring(change, None, deadline).await
        }
        .await;
        self.unguard(locked).await?;
        done
    }

    async fn follow_new(
        &self,
        claims: &TokenClaims,
        subject: Option<SubjectId>,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let found = self.provisioning.flex().get(user, deadline).await?;
        if let Some(known) = self.people.person(&PersonKey::Username(found.username.key())).await? {
            return self.follow_known(known.id, claims, subject.as_ref(), user, deadline).await;
        }
        let new = Person::new(PersonId::of(self.clock_rng.random()), found.username.clone());
        let mut new = Person { flex_user_sid: Some(user.clone()), ..new };
        let due = self.due(&new, &self.kept(&new).await?, None);
        new.statements.extend(due);
        let person = claims.added_to(&new, subject.as_ref()).unwrap_or(new);
        let Some((desired, plan)) = self.judged(&person, claims, &found)? else { return Ok(Some(unchanged(found))) };
        let change = Change { person, observed: Some(found), desired, plan };
        let locked = self.guard(&change, deadline).await?;
        let done = self.add(change, None, None, deadline).await;
        self.unguard(locked).await?;
        done
    }

    /// Stores the issuer's statement about the person.
    pub(super) async fn state_claims(
        &self,
        person: &Person,
        claims: &TokenClaims,
        subject: Option<&SubjectId>,
    ) -> Result<Written, LedgerError> {
        let statement = person.statements.get(&claims.source).unwrap_or(&claims.statement);
        let stating = Stating { source: &claims.source, statement, subject, given: None };
        Ok(self.people.state(person.id, person.version, stating).await?)
    }

    /// Returns the user unchanged, and renews the stored claims from which the user was created, so that they do not
    /// expire as long as the bearer mints. If the stored claims have expired already, returns `None`. The caller must
    /// then store the new claims.
    async fn keep_claims(
        &self,
        claims: &TokenClaims,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<Option<FlexUser>, LedgerError> {
        let claimant = self.claimant(claims, PersonKey::FlexUser(user.clone()));
        let flex_user = async { Ok(self.provisioning.flex().get(user, deadline).await?) };
        let (claimant, found) = tokio::try_join!(claimant, flex_user)?;
        let Some(mut person) = claimant.person else { return Ok(Some(found)) };
        if person.subjects.get(&claims.source) != claims.subject.as_ref() {
            return Ok(Some(found));
        }
        let stated = person.statements.get(&claims.source).filter(|stated| !stated.is_silent());
        let Some((stated, last)) = stated.and_then(|stated| Some((stated, stated.latest()?))) else {
            return Ok(Some(found));
        };
        let occasion = self.occasion();
        if last.at + occasion.claims_last <= occasion.now {
            return Ok(None);
        }
        if claims.at - last.at >= RENEWED_AFTER {
            let renewed = stated.clone().made_after(claims.statement.latest());
            let settled = person.is_settled();
            person.statements.insert(claims.source.clone(), renewed);
            // If another process changes the person first, the person's next mint renews the claims.
            if let Written::Yes(version) = self.state_claims(&person, claims, None).await?
                && settled
            {
                person.version = version;
                self.note_settled(&person).await?;
            }
        }
        Ok(Some(found))
    }
}

pub(super) fn refuse_inactive(desired: &Desired) -> Result<(), LedgerError> {
    match desired.explanation.inactive_by.first() {
        Some(by) if desired.active == Active::No => Err(LedgerError::InactiveBy(by.clone())),
        _ => Ok(()),
    }
}

fn unchanged(user: FlexUser) -> Report {
    Report { user: Some(user), ..Report::nothing(Outcome::Unchanged) }
}
