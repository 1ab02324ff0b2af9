//! The sweep: everybody in Flex compared with what the ledger says, page after page.
//!
//! It refreshes the username index, and has repaired by jobs what differs. It repairs nothing itself, so whoever is
//! being changed meanwhile is judged again, under their lease, by the job. A walk that does not come to its end
//! concludes nothing: nobody is missing, nothing is forgotten, nothing is repaired.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::groups::{Kept, adopt};
use super::{Ledger, LedgerError};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Active, Desired, Person, PersonId, Step, desired};
use crate::domain::{FlexUser, FlexUserSid, RoleSet};
use crate::store::{EventQueue, Message, PersonKey, SeenUser};
use crate::users::Pages;

/// How many people the ledger is asked for at a time, where the whole of it is read.
const BATCH: u32 = 500;

/// A sweep that would take access from more people than this stops, unless it is this share of all of them.
const FEW: usize = 20;
const SHARE: usize = 20;

/// The user with what the list leaves out as it should be: a sweep asks for nobody alone, and repairs what it sees.
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

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flex's users.
    pub users: usize,
    /// Those of them who are active.
    pub active: usize,
    /// Active users of whom no source has said anything.
    pub orphans: usize,
    /// People whose Flex user is not as the ledger says.
    pub drifted: usize,
    /// Those of them from whom the repair takes a role, or their access.
    pub losing_access: usize,
    /// Those of them who are active in Flex though a source says that they are inactive.
    pub inactive_but_active: usize,
    /// People of whom the list says only a part. What it leaves out counts as being as it should be.
    pub unclear: usize,
    /// People whose Flex user is gone.
    pub missing: usize,
    /// Repairs that were queued.
    pub queued: usize,
}

/// Why a sweep concluded nothing.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// It would take access from more people than a mistake should cost.
    #[error(
        "the repairs would take access from {losing_access} of {users} users, which is more than a sweep may: look at \
         what changed, then repair users one by one or raise the limit"
    )]
    TooMany {
        /// From how many.
        losing_access: usize,
        /// Of how many users.
        users: usize,
    },
    /// Twilio, or the store.
    #[error("the walk over Flex did not come to its end")]
    Ledger(#[from] LedgerError),
}

impl Ledger {
    /// Walks over Flex once. Repairs are queued in `queue`; without one nothing is written at all. `limit` is from how
    /// many people access may be taken; `None` is the larger of 20 and a twentieth of all users. `progress` is told how
    /// many users have been seen.
    pub async fn sweep(
        &self,
        queue: Option<&dyn EventQueue>,
        limit: Option<usize>,
        each_call: impl Fn() -> Deadline,
        mut progress: impl FnMut(usize),
    ) -> Result<Swept, SweepError> {
        let began = self.ambient.now();
        let (mut swept, mut repairs, mut seen) = (Swept::default(), Vec::new(), BTreeSet::new());
        let mut pages = Pages::of(self.provisioning.flex());
        while let Some(users) = pages.next(each_call()).await.map_err(LedgerError::from)? {
            if queue.is_some() {
                self.index(&users, began).await?;
            }
            repairs.extend(self.compare(&users, &mut swept).await?);
            seen.extend(users.into_iter().map(|user| user.flex_user_sid));
            progress(seen.len());
        }
        swept.missing = self.missing(&seen).await?;
        // A list without anybody is a mistake of somebody's. The index must not forget everybody for it.
        if let Some(queue) = queue.filter(|_| swept.users > 0) {
            self.usernames.finish_walk(began).await.map_err(LedgerError::from)?;
            let limit = limit.unwrap_or(FEW.max(swept.users / SHARE));
            if swept.losing_access > limit {
                return Err(SweepError::TooMany { losing_access: swept.losing_access, users: swept.users });
            }
            swept.queued = self.queue_repairs(queue, repairs, began).await?;
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

    /// Those of a page of users who must be reconciled.
    async fn compare(&self, users: &[FlexUser], swept: &mut Swept) -> Result<Vec<FlexUserSid>, LedgerError> {
        let sids: Vec<FlexUserSid> = users.iter().map(|user| user.flex_user_sid.clone()).collect();
        let by_name = users.iter().map(|user| PersonKey::Username(user.username.key()));
        let keys: Vec<PersonKey> = sids.iter().cloned().map(PersonKey::FlexUser).chain(by_name).collect();
        let people = self.people.people(&keys).await?;
        let (mut by_sid, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for person in people.into_iter().filter(|person| !person.superseded) {
            match person.flex_user_sid.clone() {
                Some(sid) => drop(by_sid.insert(sid, person)),
                None => drop(by_name.insert(person.username.key(), person)),
            }
        }
        let entries = self.directory.entries(&sids).await?;
        let ids: BTreeSet<FlexUserSid> = sids.into_iter().chain(entries.iter().map(|entry| entry.id.clone())).collect();
        let memberships = self.directory.memberships(&ids.into_iter().collect::<Vec<_>>()).await?;
        let mut repairs = Vec::new();
        for user in users {
            let entry = entries.iter().find(|entry| entry.current == user.flex_user_sid).cloned();
            let id = entry.as_ref().map_or(&user.flex_user_sid, |entry| &entry.id).clone();
            let memberships = memberships.iter().filter(|one| one.user == id).cloned().collect();
            let person = by_sid.remove(&user.flex_user_sid).or_else(|| by_name.remove(&user.username.key()));
            if self.differs(user, person, &Kept { entry, memberships }, swept) {
                repairs.push(user.flex_user_sid.clone());
            }
        }
        Ok(repairs)
    }

    /// Whether the user must be reconciled. What was found is counted.
    fn differs(&self, user: &FlexUser, person: Option<Person>, kept: &Kept, swept: &mut Swept) -> bool {
        swept.users += 1;
        swept.active += usize::from(user.is_active());
        let new = || Person {
            flex_user_sid: Some(user.flex_user_sid.clone()),
            ..Person::new(PersonId::of(self.ambient.random()), user.username.clone())
        };
        let mut person = person.unwrap_or_else(new);
        let due = self.due(&person, kept, None);
        let is_due = !due.is_empty();
        for (source, statement) in due {
            adopt(&mut person, source, statement);
        }
        let desired = desired(&person, &self.policy, Some(user), &self.occasion());
        let Some(desired) = desired.filter(|_| person.statements.values().any(|said| !said.is_silent())) else {
            swept.orphans += usize::from(user.is_active());
            return is_due;
        };
        swept.unclear += usize::from(!user.is_complete());
        let user = &filled(user, &desired);
        let plan = desired.plan(&person.username, Some(user));
        let drifted = plan.is_ok_and(|plan| plan.step != Step::Nothing || plan.locale.is_some());
        if drifted {
            swept.drifted += 1;
            let nothing = RoleSet::new();
            let shown = user.roles.as_ref().map_or(&nothing, |roles| roles.known());
            let deactivates = desired.active == Active::No;
            swept.losing_access += usize::from(deactivates || !shown.is_subset(&desired.roles));
            swept.inactive_but_active += usize::from(deactivates);
        }
        drifted || is_due
    }

    /// How many people have a Flex user that was not seen.
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
        queue.send(&jobs, self.ambient.now()).await?;
        Ok(jobs.len())
    }
}
