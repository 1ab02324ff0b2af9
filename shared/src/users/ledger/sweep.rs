//! The sweep: compares all Flex users with the ledger, page by page.
//!
//! It refreshes the username index and queues jobs that repair differences. Each job compares the person's user with
//! the ledger again, because the person may change during the sweep. If the sweep cannot read all Flex users, it
//! repairs nothing and removes nothing from the index.

use std::collections::{BTreeMap, BTreeSet};

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::given_back::is_being_made;
use super::groups::{Kept, adopt};
use super::reconcile::is_drift;
use super::{Ledger, LedgerError, orphans};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Active, Desired, Person, PersonId, Step, desired};
use crate::domain::{EventId, FlexUser, FlexUserSid, RoleSet};
use crate::store::{EventQueue, Message, PersonKey, SeenUser};
use crate::users::Pages;

/// The maximum number of people that one read from the ledger returns.
const BATCH: u32 = 500;

/// Returns the default limit on how many people may lose a role or access through one command: 20, or 5 % of `users` if
/// that is more.
#[must_use]
pub fn most_losing_access(users: usize) -> usize {
    (users / 20).max(20)
}

/// Fills in the fields that Twilio's list of users leaves out, with their desired values. So a missing field is never
/// a difference.
fn filled(user: &FlexUser, desired: &Desired) -> FlexUser {
    let roles = || desired.roles.iter().map(|role| role.as_str()).collect();
    let deactivated = user.deactivated.or_else(|| user.worker_sid.is_some().then_some(false));
    FlexUser {
        email: user.email.clone().or_else(|| desired.email.as_ref().map(ToString::to_string)),
        full_name: user.full_name.clone().or_else(|| desired.full_name.as_ref().map(ToString::to_string)),
        roles: Some(user.roles.clone().unwrap_or_else(roles)),
        locale: user.locale.clone().or_else(|| desired.locale.clone().flatten().map(Into::into)),
        deactivated: Some(deactivated.unwrap_or(desired.active == Active::No)),
        ..user.clone()
    }
}

/// What a sweep may do.
#[derive(Debug, Clone, Copy, Default)]
pub struct SweepOptions<'a> {
    /// The queue for the jobs that repair differences. Without a queue, the sweep writes nothing at all.
    pub queue: Option<&'a dyn EventQueue>,
    /// The maximum number of people who may lose a role or access through the sweep. `None` means 20, or 5 % of all
    /// users if that is more.
    pub limit: Option<usize>,
    /// The minimum age of an orphan (an active user about whom no source says anything) that the sweep deactivates.
    /// People in the ledger and administrators are exempt. `None` means that the sweep deactivates no orphans.
    pub orphans_after: Option<Duration>,
    /// How long a worker must have had the same activity before the sweep reports the user as idle. `None` skips this
    /// check and its requests to `TaskRouter`.
    pub idle_after: Option<Duration>,
}

/// The result of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// The number of users in Flex.
    pub users: usize,
    /// The number of active users in Flex.
    pub active: usize,
    /// The active users about whom no source has said anything.
    pub orphans: Vec<FlexUserSid>,
    /// The number of orphans that the sweep deactivates.
    pub orphans_due: usize,
    /// The number of drifted people: their Flex user differs from the ledger.
    pub drifted: usize,
    /// The number of people who lose a role or all access through the repairs.
    pub losing_access: usize,
    /// The number of people who are active in Flex although a source says that they are inactive.
    pub inactive_but_active: usize,
    /// The drifted users whom the sweep does not repair, because two earlier repairs did not last.
    pub contested: Vec<FlexUserSid>,
    /// The number of people for whom Twilio's list of users leaves out fields. A missing field counts as correct.
    pub unclear: usize,
    /// The active users whose worker has had the same activity for at least [`SweepOptions::idle_after`].
    pub idle: Vec<FlexUserSid>,
    /// The number of people in the ledger whose Flex user no longer exists.
    pub missing: usize,
    /// The number of queued repairs.
    pub queued: usize,
}

/// Why a sweep failed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The repairs would take a role or access from more people than the limit allows.
    #[error(
        "the repairs would take a role or access from {losing_access} of {users} users, which is more than a sweep \
         may: look at what changed, then repair users one by one or raise the limit"
    )]
    TooMany {
        /// The number of users who would lose a role or access.
        losing_access: usize,
        /// The number of users in Flex.
        users: usize,
    },
    /// A request to Twilio or to the store failed.
    #[error("the sweep did not finish")]
    Ledger(#[from] LedgerError),
    /// `TaskRouter` did not answer, so idle users are unknown. The rest of the sweep is done.
    #[error("the repairs are queued, but TaskRouter did not say who is idle")]
    Idle(#[source] LedgerError),
}

#[derive(Default)]
struct Found {
    swept: Swept,
    repairs: Vec<FlexUserSid>,
    /// The orphans without an entry in the ledger. (An orphan is an active user about whom no source says anything.)
    strangers: Vec<FlexUser>,
    /// Active users whom the ledger does not know, although it contains a person with the same username. In the ledger,
    /// this person has another Flex user. Each user is listed with the person.
    returned: Vec<(FlexUser, Person)>,
}

impl Ledger {
    /// Compares all Flex users with the ledger. Calls `progress` with the number of users read so far.
    pub async fn sweep(
        &self,
        options: SweepOptions<'_>,
        each_call: impl Fn() -> Deadline,
        mut progress: impl FnMut(usize),
    ) -> Result<Swept, SweepError> {
        let began = self.clock_rng.now();
        let (mut found, mut seen, mut workers) = (Found::default(), BTreeSet::new(), BTreeMap::new());
        let mut active = BTreeSet::new();
        let mut pages = Pages::of(self.provisioning.flex());
        while let Some(users) = pages.next(each_call()).await.map_err(LedgerError::from)? {
            if options.queue.is_some() {
                self.index(&users, began).await?;
            }
            self.compare(&users, &mut found).await?;
            let with_worker = users.iter().filter(|user| user.is_active());
            workers.extend(with_worker.filter_map(|user| Some((user.worker_sid.clone()?, user.flex_user_sid.clone()))));
            active.extend(users.iter().filter(|user| user.is_active()).map(|user| user.flex_user_sid.clone()));
            seen.extend(users.into_iter().map(|user| user.flex_user_sid));
            progress(seen.len());
        }
        // A person may have got a new Flex user with the same username. But if the user in the ledger is still active,
        // the other user with this username belongs to somebody else.
        for (user, person) in std::mem::take(&mut found.returned) {
            let has_left = person.flex_user_sid.as_ref().is_none_or(|sid| !active.contains(sid));
            let kept = if has_left { self.kept(&person).await? } else { Kept::default() };
            self.judge(&user, has_left.then_some(person), &kept, &mut found);
        }
        let Found { mut swept, mut repairs, strangers, .. } = found;
        let is_due = |user: &FlexUser| options.orphans_after.is_some_and(|after| orphans::is_due(user, after, began));
        let orphans: Vec<FlexUser> = strangers.into_iter().filter(is_due).collect();
        swept.missing = self.missing(&seen).await?;
        swept.orphans_due = orphans.len();
        // Flex always has users, so an empty list is a mistake by Twilio. In that case, skip this step, because it
        // would remove all users from the index.
        if let Some(queue) = options.queue.filter(|_| swept.users > 0) {
            self.usernames.finish_walk(began).await.map_err(LedgerError::from)?;
            let limit = options.limit.unwrap_or(most_losing_access(swept.users));
            let losing_access = swept.losing_access + swept.orphans_due;
            if losing_access > limit {
                return Err(SweepError::TooMany { losing_access, users: swept.users });
            }
            let cause = EventId::from(u128::from_be_bytes(self.clock_rng.random()));
            for user in orphans {
                let sid = user.flex_user_sid.clone();
                if self.state_orphan(user, &cause).await? {
                    repairs.push(sid);
                }
            }
            swept.queued = self.queue_repairs(queue, repairs, began).await?;
        }
        // Check idle users last. If this check fails, the repairs have already been queued.
        if let Some(after) = options.idle_after {
            let idle = self.idle(&workers, began - after, &each_call).await;
            swept.idle = idle.map_err(SweepError::Idle)?;
        }
        Ok(swept)
    }

    async fn index(&self, users: &[FlexUser], began: OffsetDateTime) -> Result<(), LedgerError> {
        let seen = |user: &FlexUser| SeenUser {
            key: user.username.key(),
            username: user.username.clone(),
            flex_user_sid: user.flex_user_sid.clone(),
            active: user.is_active(),
        };
        let seen: Vec<SeenUser> = users.iter().map(seen).collect();
        Ok(self.usernames.put_seen(&seen, began).await?)
    }

    async fn compare(&self, users: &[FlexUser], found: &mut Found) -> Result<(), LedgerError> {
        let sids: Vec<FlexUserSid> = users.iter().map(|user| user.flex_user_sid.clone()).collect();
        let by_name = users.iter().map(|user| PersonKey::Username(user.username.key()));
        let keys: Vec<PersonKey> = sids.iter().cloned().map(PersonKey::FlexUser).chain(by_name).collect();
        let people = self.people.people(&keys).await?;
        let (mut by_sid, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for person in people.into_iter().filter(|person| !person.superseded) {
            if let Some(sid) = person.flex_user_sid.clone() {
                by_sid.insert(sid, person.clone());
            }
            by_name.insert(person.username.key(), person);
        }
        let entries = self.scim.entries(&sids).await?;
        let ids: BTreeSet<FlexUserSid> = sids.into_iter().chain(entries.iter().map(|entry| entry.id.clone())).collect();
        let memberships = self.scim.memberships(&ids.into_iter().collect::<Vec<_>>()).await?;
        for user in users {
            let entry = entries.iter().find(|entry| entry.current == user.flex_user_sid).cloned();
            let id = entry.as_ref().map_or(&user.flex_user_sid, |entry| &entry.id).clone();
            let memberships = memberships.iter().filter(|one| one.user == id).cloned().collect();
            let person = by_sid.remove(&user.flex_user_sid);
            let by_name = person.is_none().then(|| by_name.get(&user.username.key())).flatten();
            let is_theirs = |person: &&Person| person.flex_user_sid.is_some() && person.username == user.username;
            if let Some(other) = by_name.filter(is_theirs).filter(|_| user.is_active()) {
                found.returned.push((user.clone(), other.clone()));
                continue;
            }
            let person = person.or_else(|| by_name.filter(|person| person.flex_user_sid.is_none()).cloned());
            self.judge(user, person, &Kept { entry, memberships }, found);
        }
        Ok(())
    }

    /// Decides whether a user matches the ledger, must be repaired or is only reported.
    fn judge(&self, user: &FlexUser, person: Option<Person>, kept: &Kept, found: &mut Found) {
        let swept = &mut found.swept;
        swept.users += 1;
        swept.active += usize::from(user.is_active());
        let is_known = person.is_some();
        let new = || Person {
            flex_user_sid: Some(user.flex_user_sid.clone()),
            ..Person::new(PersonId::of(self.clock_rng.random()), user.username.clone())
        };
        let mut person = person.unwrap_or_else(new);
        // A mint asked Twilio to create this user, but received no answer. The repair job finds out whether the user
        // already existed and belonged to somebody else.
        if is_being_made(&person) && user.is_active() {
            swept.drifted += 1;
            found.repairs.push(user.flex_user_sid.clone());
            return;
        }
        let due = self.due(&person, kept, None);
        if !due.is_empty() {
            found.repairs.push(user.flex_user_sid.clone());
        }
        let is_settled = person.is_settled() && due.is_empty();
        for (source, statement) in due {
            adopt(&mut person, source, statement);
        }
        let desired = desired(&person, &self.policy, Some(user), &self.occasion());
        let Some(desired) = desired.filter(|_| person.statements.values().any(|said| !said.is_silent())) else {
            if user.is_active() {
                swept.orphans.push(user.flex_user_sid.clone());
                found.strangers.extend((!is_known).then(|| user.clone()));
            }
            return;
        };
        swept.unclear += usize::from(!user.is_complete());
        let shown = &filled(user, &desired);
        let Ok(plan) = desired.plan(&person.username, Some(shown)) else { return };
        if plan.step == Step::Nothing && plan.locale.is_none() {
            return;
        }
        swept.drifted += 1;
        let may_repair = || person.given.repairs.another(self.clock_rng.now()).is_some();
        if is_settled && is_drift(&person, &plan) && !may_repair() {
            swept.contested.push(user.flex_user_sid.clone());
            return;
        }
        let nothing = RoleSet::new();
        let roles = shown.roles.as_ref().map_or(&nothing, |roles| roles.known());
        let deactivates = desired.active == Active::No;
        swept.losing_access += usize::from(deactivates || !roles.is_subset(&desired.roles));
        swept.inactive_but_active += usize::from(deactivates);
        if found.repairs.last() != Some(&user.flex_user_sid) {
            found.repairs.push(user.flex_user_sid.clone());
        }
    }

    /// Returns the number of people in the ledger whose Flex user the sweep did not find.
    async fn missing(&self, seen: &BTreeSet<FlexUserSid>) -> Result<usize, LedgerError> {
        let (mut missing, mut after) = (0, None);
        loop {
            let people = self.people.page(after, BATCH).await?;
            let Some(last) = people.last() else { return Ok(missing) };
            after = Some(last.id);
            let sids =
                people.iter().filter(|person| !person.superseded).filter_map(|person| person.flex_user_sid.as_ref());
            missing += sids.filter(|sid| !seen.contains(*sid)).count();
        }
    }

    async fn queue_repairs(
        &self,
        queue: &dyn EventQueue,
        repairs: Vec<FlexUserSid>,
        began: OffsetDateTime,
    ) -> Result<usize, LedgerError> {
        let cause = format!("sweep:{}", began.format(&Rfc3339).unwrap_or_default());
        let job = |user: FlexUserSid| Message::Reconcile { user, cause: cause.clone(), left: None };
        let jobs: Vec<Message> = repairs.into_iter().map(job).collect();
        queue.send(&jobs, self.clock_rng.now()).await?;
        Ok(jobs.len())
    }
}
