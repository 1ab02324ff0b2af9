//! Reconciles a person: compares the Flex user with the ledger, records the roles that Flexgate gives, and sends the
//! difference to Twilio.

use std::time::Duration;

use super::find::plan;
use super::given_back::is_being_made;
use super::state::Change;
use super::{Ledger, LedgerError, Outcome, Report};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Active, Person, PersonId, Plan, Step, desired};
use crate::domain::{FlexUser, FlexUserSid, Identity, Role};
use crate::store::{Bound, Noting, PersonKey, PersonLease, Written};
use crate::twilio::{TwilioError, UserUpdate};
use crate::users::in_full;

/// How long a lease lasts after its holder's deadline. This is longer than any request to Twilio can take. The next
/// holder must not begin while a late request of the previous holder can still arrive.
pub const AFTERMATH: Duration = Duration::from_secs(7);

/// How long to wait for a lease that another process holds.
const WAIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(40);

/// The maximum number of times that a reconciliation may start. It starts again if another process has changed the
/// person since it began.
const ROUNDS: usize = 8;

/// A lease: the exclusive right to change a person. The number identifies the holder.
pub(super) struct Lease(u128);

impl Lease {
    pub(super) fn holder(&self) -> u128 {
        self.0
    }
}

impl Ledger {
    /// Updates the person's Flex user to match the ledger. Returns `None` if there is no such person.
    pub async fn reconcile(&self, id: PersonId, deadline: Deadline) -> Result<Option<Report>, LedgerError> {
        if self.people.person(&PersonKey::Id(id)).await?.is_none() {
            return Ok(None);
        }
        let lease = self.lease(id, deadline).await?;
        let done = self.round(id, None, deadline).await;
        self.finish(lease, id, done, deadline).await
    }

    /// Takes the lease on the person. Waits at most `WAIT` for a lease that another process holds.
    pub(super) async fn lease(&self, id: PersonId, deadline: Deadline) -> Result<Lease, LedgerError> {
        let holder = u128::from_be_bytes(self.clock_rng.random());
        let waiting = deadline.within(WAIT);
        loop {
            let now = self.clock_rng.now();
            let until = now + deadline.remaining() + AFTERMATH;
            match self.people.lease(id, holder, now, until).await? {
                PersonLease::Granted { .. } => return Ok(Lease(holder)),
                PersonLease::Unknown => return Err(LedgerError::LOST_RACE),
                PersonLease::Held(until) if waiting.remaining() <= PAUSE => {
                    return Err(LedgerError::Busy((until - now).try_into().unwrap_or_default()));
                }
                PersonLease::Held(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Releases the lease if the person still has the version that was reconciled. If the person has a newer version,
    /// another process has changed the person, and may rely on this process to reconcile the change. So this function
    /// reconciles the person again before it releases the lease.
    pub(super) async fn finish(
        &self,
        lease: Lease,
        id: PersonId,
        done: Result<Option<(Report, u64)>, LedgerError>,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let mut done = done;
        for _ in 0..ROUNDS {
            match done {
                Ok(Some((report, version))) => {
                    if self.people.release(id, lease.0, Some(version)).await? {
                        return Ok(Some(report));
                    }
                    done = match self.round(id, None, deadline).await {
                        // Return the first report to the caller, because it describes the caller's own change.
                        Ok(Some((_, version))) => Ok(Some((report, version))),
                        other => other,
                    };
                }
                other => {
                    self.people.release(id, lease.0, None).await?;
                    return other.map(|_| None);
                }
            }
        }
        self.people.release(id, lease.0, None).await?;
        Err(LedgerError::LOST_RACE)
    }

    /// Reads the person and the Flex user, and updates Flex to match the ledger. Starts again if another process
    /// changes the person at the same time. Returns `None` if there is no such person.
    ///
    /// `left` has the same meaning as in [`Ledger::reconcile_member`].
    pub(super) async fn round(
        &self,
        id: PersonId,
        left: Option<(&str, Role)>,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        for _ in 0..ROUNDS {
            let Some(person) = self.people.person(&PersonKey::Id(id)).await? else { return Ok(None) };
            if person.superseded {
                return Ok(Some((Report::nothing(Outcome::NoUser), person.version)));
            }
            let stored = person.given.clone();
            let Some(person) = self.projected(person, left).await? else { continue };
            let observed = self.flex_user(&person, deadline).await?;
            if let Some(user) = observed.as_ref().filter(|_| is_being_made(&person)) {
                // This case is rare and its future is large. Boxing it keeps the future of every reconciliation
                // small.
                match Box::pin(self.give_back_if_older(&person, user, deadline)).await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    // A source says that the person is inactive. So the plan below deactivates this user anyway, and
                    // the failure of this check does not matter.
                    Err(_) if person.inactive_by().next().is_some() => {}
                    Err(error) => return Err(error),
                }
            }
            let Some(mut desired) = desired(&person, &self.policy, observed.as_ref(), &self.occasion()) else {
                return Ok(Some((Report::nothing(Outcome::Unchanged), person.version)));
            };
            let plan = plan(&person, &desired, observed.as_ref())?;
            if is_drift(&person, &plan) {
                let Some(repairs) = person.given.repairs.another(self.clock_rng.now()) else {
                    let explanation = Some(desired.explanation);
                    let report = Report { user: observed, explanation, ..Report::nothing(Outcome::Contested) };
                    return Ok(Some((report, person.version)));
                };
                desired.given.repairs = repairs;
            }
            let change = Change { person: Person { given: stored, ..person }, observed, desired, plan };
            let locked = self.guard(&change, deadline).await?;
            let done = self.bring(change, None, deadline).await;
            self.unguard(locked).await?;
            if let Some(done) = done? {
                return Ok(Some(done));
            }
        }
        Err(LedgerError::LOST_RACE)
    }

    /// Records the roles that Flexgate gives, sends the difference to Twilio, and records that Flex matches the
    /// ledger. Returns the report and the reconciled version of the person, or `None` if another process changed the
    /// person.
    pub(super) async fn bring(
        &self,
        change: Change,
        identity: Option<&Identity>,
        deadline: Deadline,
    ) -> Result<Option<(Report, u64)>, LedgerError> {
        let Change { mut person, observed, desired, plan } = change;
        let mut given = desired.given;
        let sends = plan.step != Step::Nothing || plan.locale.is_some();
        if sends && given != person.given {
            let sid = person.flex_user_sid.as_ref();
            let noting = Noting { given: &given, flex_user_sid: sid, username: &person.username };
            let Written::Yes(version) = self.people.note(person.id, person.version, noting).await? else {
                return Ok(None);
            };
            (person.version, person.given) = (version, given.clone());
        }

        let existing = observed.as_ref().map(|user| user.flex_user_sid.clone());
        let was_active = observed.as_ref().map(FlexUser::is_active);
        let (outcome, user) = self.send(plan.step, observed, deadline).await?;
        if let Some(user) = &user {
            let is_new = person.flex_user_sid.as_ref() != Some(&user.flex_user_sid);
            // A search does not show deactivated users. So Flexgate may learn only now that the Flex user had a
            // previous owner.
            if given.taking_over && is_new {
                self.end_access(&user.flex_user_sid).await?;
                self.leave_groups(&user.flex_user_sid).await?;
            } else if let Some(old) = person.flex_user_sid.as_ref().filter(|_| is_new) {
                self.follow_in_scim(old, user).await?;
            }
        }
        // If nothing had to change, all data in the Flex user already belongs to the new owner. So the takeover is
        // finished.
        if outcome == Outcome::Unchanged && user.as_ref().is_some_and(FlexUser::is_active) {
            given.taking_over = false;
        }
        if outcome == Outcome::Created || outcome == Outcome::Updated {
            given.taking_over = false;
            if let Some(attributes) = desired.attributes {
                given.attributes = attributes;
            }
        }
        let user = match (user, plan.locale) {
            (Some(user), Some(locale)) => Some(self.set_locale(user, &locale, deadline).await?),
            (user, _) => user,
        };
        let sid = user.as_ref().map(|user| user.flex_user_sid.clone());
        given.asked_since = given.asked_since.filter(|_| sid.is_none());
        self.note_seen(was_active, user.as_ref()).await?;
        if desired.active == Active::No {
            if let Some(sid) = sid.as_ref().filter(|_| outcome != Outcome::Deactivated) {
                self.end_access(sid).await?;
            }
        } else if let (Some(sid), Some(identity)) = (&sid, identity) {
            if let Some(old) = existing.filter(|old| old != sid) {
                self.provisioning.bindings().unbind(&old).await?;
            }
            self.bind(identity, sid).await?;
        }

        let version = if person.is_settled() && given == person.given && sid == person.flex_user_sid {
            person.version
        } else {
            given.settled_at = person.version + 1;
            let sid = sid.as_ref().or(person.flex_user_sid.as_ref());
            let username = user.as_ref().map_or(&person.username, |user| &user.username);
            let noting = Noting { given: &given, flex_user_sid: sid, username };
            match self.people.note(person.id, person.version, noting).await? {
                Written::Yes(version) => version,
                Written::Moved => return Ok(None),
            }
        };
        let (explanation, blocked) = (Some(desired.explanation), plan.blocked);
        let report = Report { user, explanation, blocked, ..Report::nothing(outcome) };
        Ok(Some((report, version)))
    }

    pub(super) async fn send(
        &self,
        step: Step,
        observed: Option<FlexUser>,
        deadline: Deadline,
    ) -> Result<(Outcome, Option<FlexUser>), LedgerError> {
        let flex = self.provisioning.flex();
        match (step, observed) {
            (Step::Provision(wanted), observed) => {
                let user = flex.provision(&wanted, deadline).await?;
                if user.is_deactivated() {
                    return Err(LedgerError::StaysDeactivated);
                }
                let outcome = if observed.is_some() { Outcome::Updated } else { Outcome::Created };
                Ok((outcome, Some(in_full(flex, user, deadline).await?)))
            }
            (Step::UpdateEmail(email), Some(user)) => {
                let update = UserUpdate { email: Some(&email), ..UserUpdate::default() };
                flex.update(&user.flex_user_sid, &update, deadline).await?;
                Ok((Outcome::Updated, Some(FlexUser { email: Some(email.to_string()), ..user })))
            }
            (Step::Deprovision, Some(user)) => {
                self.provisioning.deprovision(&user.flex_user_sid, deadline).await?;
                Ok((Outcome::Deactivated, Some(FlexUser { deactivated: Some(true), worker_sid: None, ..user })))
            }
            (_, None) => Ok((Outcome::NoUser, None)),
            (Step::Nothing, Some(user)) => Ok((Outcome::Unchanged, Some(user))),
        }
    }

    async fn set_locale(&self, user: FlexUser, locale: &str, deadline: Deadline) -> Result<FlexUser, LedgerError> {
        let update = UserUpdate { locale: Some(locale), ..UserUpdate::default() };
        match self.provisioning.flex().update(&user.flex_user_sid, &update, deadline).await {
            // Twilio does not document whether a locale can be removed. If Twilio refuses, the old locale stays.
            Err(TwilioError::Refused(_)) if locale.is_empty() => Ok(user),
            updated => {
                let updated_date = updated?.updated_date.or(user.updated_date);
                Ok(FlexUser { locale: Some(locale.to_owned()), updated_date, ..user })
            }
        }
    }

    /// Ends the user's sessions and binding in Flexgate's store. Flex does not change.
    pub(super) async fn end_access(&self, user: &FlexUserSid) -> Result<(), LedgerError> {
        self.provisioning.sessions().end_all_of(user).await?;
        self.provisioning.bindings().unbind(user).await?;
        Ok(())
    }

    pub(super) async fn bind(&self, identity: &Identity, user: &FlexUserSid) -> Result<(), LedgerError> {
        match self.provisioning.bindings().bind(identity, user, self.clock_rng.now()).await? {
            Bound::Yes => Ok(()),
            Bound::IdentityTaken(_) | Bound::UserTaken => Err(LedgerError::Bound),
        }
    }
}

/// Whether the plan would undo a change that somebody else made in Flex since the last reconciliation. Returns false
/// for a deactivation, because a source's "inactive" always has priority.
pub(super) fn is_drift(person: &Person, plan: &Plan) -> bool {
    let changes = plan.step != Step::Nothing || plan.locale.is_some();
    person.is_settled() && changes && plan.step != Step::Deprovision
}

impl Report {
    /// Makes a report without a user and without reasons.
    pub(super) fn nothing(outcome: Outcome) -> Self {
        Self { outcome, user: None, known_as: None, explanation: None, blocked: Vec::new() }
    }
}
