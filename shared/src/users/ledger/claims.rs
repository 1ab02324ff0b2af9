//! Treats the claims of a token as a statement about the bearer of the token, and updates the bearer's Flex user
//! accordingly.
//!
//! A token describes its bearer completely. So an issuer's statement about a person is the content of the person's
//! latest token. Tokens are ordered by their time of issue. A token that is older than the stored statement changes
//! nothing. A token with the same content replaces the stored statement only if it was issued at least a day later. So
//! as long as the bearer mints, the claims do not expire ([`CLAIMS_LAST`]), and yet most mints write nothing to the
//! store.
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

/// A token with the same claims as the stored statement replaces the statement only if it was issued at least this much
/// later.
const RENEWED_AFTER: Duration = Duration::DAY;

/// How many times to try a write. An attempt fails if another process writes the same person first.
pub(super) const TRIES: usize = 5;

/// The content of a verified token as a statement about its bearer.
#[derive(Debug, Clone)]
pub struct TokenClaims {
    /// The issuer's own id of the person.
    pub(super) source: Source,
    /// What the issuer calls the person.
    pub(super) subject: Option<SubjectId>,
    /// The username that the claims map to.
    pub(super) username: Username,
    /// When the token was issued, if the token says so.
    issued_at: Option<OffsetDateTime>,
    /// The time at which the claims count as stated: the time of issue, but not later than now.
    at: OffsetDateTime,
    statement: Statement,
    /// The unbound Flex users that the issuer may claim.
    pub(super) may_claim: Arc<MayClaim>,
}

/// The result of updating a Flex user from the claims of a token.
#[derive(Debug)]
pub struct Followed {
    /// The user as it is now.
    pub user: FlexUser,
    /// Whether it was changed.
    pub changed: bool,
}

impl TokenClaims {
    /// Reads the token of `caller`, whose Flex username is `username`. `roles` are the roles that the token gives. If
    /// `roles` is empty, the claims say nothing about roles.
    #[must_use]
    pub fn of(caller: &Caller, username: &Username, roles: &RoleSet, clock_rng: &ClockRng) -> Self {
        let (now, id) = (clock_rng.now(), EventId::from(u128::from_be_bytes(clock_rng.random())));
        // The issuer's clock may be ahead. If a time of issue in the future were stored, the person's next tokens could
        // count as older than this one.
        let at = caller.issued_at.map_or(now, |issued_at| issued_at.min(now));
        // Include names that mean nothing to Flexgate, so that `explain` shows them.
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

    /// Whether these claims need not be stored if the claims `earlier` of the same subject are stored already. This is
    /// true if these claims are older than `earlier`. It is also true if both have the same content and these claims
    /// are less than a day newer.
    #[must_use]
    pub fn add_nothing_to(&self, earlier: &Self) -> bool {
        !self.is_newer_than(&earlier.statement)
    }

    /// Whether these claims must be stored. `stated` is the stored statement from earlier tokens of the same subject.
    fn is_newer_than(&self, stated: &Statement) -> bool {
        let Some(last) = stated.latest() else { return true };
        // Issue times are whole seconds. If two tokens have the same issue time, the one that arrives later counts.
        self.at >= last.at && (content(stated) != content(&self.statement) || self.at - last.at >= RENEWED_AFTER)
    }

    /// Whether the token may have been issued before `since`. Times of issue are whole seconds, and the issuer's clock may
    /// be ahead by [`LEEWAY`].
    pub(super) fn may_be_older_than(&self, since: OffsetDateTime) -> bool {
        match self.issued_at {
            Some(issued_at) => issued_at < since + LEEWAY,
            None => self.at < since + Duration::DAY,
        }
    }

    /// Returns the person with these claims added, or `None` if the claims add nothing. If the stored claims are about
    /// another subject, the new claims replace them. In that case the caller must have checked that the person no
    /// longer belongs to the old subject.
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

/// The values in the statement, without the times at which they were stated.
fn content(statement: &Statement) -> Content<'_> {
    let email = statement.email.as_ref().and_then(|said| said.value.as_ref());
    let full_name = statement.full_name.as_ref().and_then(|said| said.value.as_ref());
    (statement.roles.as_ref().map(|said| &said.value), email, full_name)
}

impl Ledger {
    /// Updates the Flex user `user`, which is bound to the bearer of `claims`, as far as just-in-time provisioning
    /// allows. Returns [`LedgerError::InactiveBy`] if a source says that the person is inactive. A deactivated user is
    /// returned unchanged, because claims never reactivate anybody.
    ///
    /// If just-in-time provisioning is `create`, the claims do not change the user. Flexgate then only makes sure that
    /// the claims with which the user was created do not expire.
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
                    // These futures are large. Put them into boxes, so that the future of every mint does not need as
                    // much memory.
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

    /// Returns the circumstances for [`desired`](crate::domain::ledger::desired) while the bearer of `claims` mints.
    /// Only then may claims add roles.
    pub(super) fn minting<'a>(&self, claims: &'a TokenClaims) -> Occasion<'a> {
        Occasion { minting_for: claims.issuer(), ..self.occasion() }
    }

    /// Computes the changes that make `user` match all statements about the person, including these claims. Returns
    /// `None` if nothing should be changed, for example because the user is deactivated.
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
            // Flex may show an invalid e-mail address, and then there is no complete plan. Ignore this, because the
            // person could otherwise not get a token. But report the error if the plan would have removed a role.
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

    /// Stores the statement of the claims' issuer about the person.
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

    /// Returns the user unchanged, because the policy says that claims do not change an existing user. Also renews the
    /// stored claims with which the user was created. So these claims do not expire as long as the bearer mints, and
    /// their content stays as it was. Returns `None` if the stored claims have expired already. The caller must then
    /// store the new claims.
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
            // If another process changes the person first, skip the renewal. The person's next mint then renews the
            // claims.
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

/// Returns an error if a source says that the person is inactive.
pub(super) fn refuse_inactive(desired: &Desired) -> Result<(), LedgerError> {
    match desired.explanation.inactive_by.first() {
        Some(by) if desired.active == Active::No => Err(LedgerError::InactiveBy(by.clone())),
        _ => Ok(()),
    }
}

fn unchanged(user: FlexUser) -> Report {
    Report { user: Some(user), ..Report::nothing(Outcome::Unchanged) }
}
