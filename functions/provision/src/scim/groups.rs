//! SCIM groups. Flexgate stores all groups. The settings say which groups give a role.
//!
//! A write first stores the group with its members. Then Flexgate reconciles the members who joined or left, so that
//! they gain or lose the group's role in Flex. Flexgate reconciles up to eight members within the request, and queues
//! jobs for a larger number. A member's change is "announced" once the member is reconciled, or once a job that will
//! reconcile the member is queued. If a write is interrupted, the next write to the group announces the remaining
//! changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flexgate::base::outbound::Deadline;
use flexgate::domain::{FlexUserSid, Role, check_seen};
use flexgate::store::scim::{Group, GroupWritten, Member};
use flexgate::store::{ChangedMember, Message, ScimStore};
use flexgate::users::ledger::LedgerError;
use serde_json::{Value, json};

use super::person::in_millis;
use super::protocol::{Cursor, Document, Operation, Page, Paging, Plan, Schema, Test, apply, complete};
use super::refusal::{Refusal, value as wrong};
use super::resources::group_schema;
use super::users::{Users, check_if_match};

/// How many times Flexgate tries a write that collides with other writes. Identity systems often send many writes to
/// one group at the same time.
const TRIES: u32 = 12;

/// The maximum pause before the first retry. The maximum grows with each retry, up to eight times this value.
const PAUSE: Duration = Duration::from_millis(10);

/// The maximum number of members that Flexgate reconciles within the request. For a change to more members, Flexgate
/// queues jobs.
const AT_ONCE: usize = 8;

/// The most members of one group.
const MAX_MEMBERS: usize = 10_000;

/// The number of groups in one read from the store.
const BATCH: u64 = 100;

/// How a group is changed.
#[derive(Debug, Clone, Copy)]
pub enum GroupChange<'a> {
    /// `PUT`.
    Replace(&'a Document),
    /// `PATCH`.
    Patch(&'a [Operation]),
}

/// All SCIM groups, and the roles that they give.
#[derive(Debug)]
pub struct Groups {
    schema: Schema,
    users: Arc<Users>,
}

impl Groups {
    /// Creates the service for groups. Sends no request to Twilio or the store. `users` gives access to the members.
    #[must_use]
    pub fn new(users: Arc<Users>) -> Self {
        Self { schema: group_schema(), users }
    }

    /// The schema of groups.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scim(&self) -> &dyn ScimStore {
        self.users.scim.as_ref()
    }

    /// Returns the group with this `id`.
    pub async fn get(&self, id: &str) -> Result<Document, Refusal> {
        Ok(self.show(&self.load(id).await?))
    }

    /// Returns the groups that match the filter, or one page of all groups.
    pub async fn search(&self, test: Option<&Test>, paging: &Paging) -> Result<Page, Refusal> {
        let found = match test.map(Test::plan) {
            Some(Plan::DisplayName(name)) => self.scim().group_named(&name).await?.into_iter().collect(),
            Some(Plan::Id(id)) => self.scim().group(&id).await?.into_iter().collect(),
            Some(_) => self.everything().await?,
            None => return self.page(paging).await,
        };
        let mut matching: Vec<_> = found.iter().map(|group| self.show(group)).collect();
        matching.retain(|shown| test.is_none_or(|test| test.matches(&self.schema, shown)));
        let total = matching.len() as u64;
        let start = match paging {
            Paging::Index { start, .. } => *start,
            Paging::Cursor { .. } => 1,
        };
        let skip = usize::try_from(start - 1).unwrap_or(usize::MAX);
        let take = usize::try_from(paging.count()).unwrap_or(usize::MAX);
        let resources = matching.into_iter().skip(skip).take(take).collect();
        Ok(Page { resources, total: Some(total), start: Some(start), next: None })
    }

    async fn page(&self, paging: &Paging) -> Result<Page, Refusal> {
        let total = Some(self.scim().count_groups().await?);
        match paging {
            Paging::Index { start, count } => {
                let groups = self.scim().groups("", start - 1, *count).await?;
                let resources = groups.iter().map(|group| self.show(group)).collect();
                Ok(Page { resources, total, start: Some(*start), next: None })
            }
            Paging::Cursor { at, count } => {
                let after = at.as_ref().map_or("", |cursor| cursor.token.as_str());
                let mut groups = self.scim().groups(after, 0, count + 1).await?;
                let more = groups.len() as u64 > *count;
                groups.truncate(usize::try_from(*count).unwrap_or(usize::MAX));
                let now = self.users.clock_rng.now();
                let last = groups.last().filter(|_| more);
                let next = last.map(|group| Cursor::new(group.id.clone(), 0, now));
                Ok(Page { resources: groups.iter().map(|group| self.show(group)).collect(), total, start: None, next })
            }
        }
    }

    async fn everything(&self) -> Result<Vec<Group>, Refusal> {
        let mut all: Vec<Group> = Vec::new();
        loop {
            let after = all.last().map(|group| group.id.clone()).unwrap_or_default();
            let batch = self.scim().groups(&after, 0, BATCH).await?;
            let last = (batch.len() as u64) < BATCH;
            all.extend(batch);
            if last {
                return Ok(all);
            }
        }
    }

    /// Creates the group. If an earlier attempt stored the same group and then failed, completes that attempt.
    pub async fn create(&self, document: &Document, deadline: Deadline) -> Result<Document, Refusal> {
        let display_name = display_name(document)?;
        let members = members(document)?;
        let now = self.users.clock_rng.now();
        let group = Group {
            id: format!("fggrp_{:032x}", u128::from_be_bytes(self.users.clock_rng.random())),
            external_id: external_id(document),
            members: Vec::new(),
            version: 0,
            created_at: now,
            updated_at: now,
            display_name,
        };
        let group = self.with_members(group, &members, deadline).await?;
        let id = match self.scim().put_group(&group).await? {
            GroupWritten::Yes => group.id,
            GroupWritten::Moved => return Err(Refusal::LOST_RACE),
            GroupWritten::NameTaken => {
                let taken = self.scim().group_named(&group.display_name).await?.ok_or(Refusal::LOST_RACE)?;
                let same = taken.external_id == group.external_id && present(&taken).eq(present(&group));
                let is_announced = self.users.group_roles.unannounced(&taken).next().is_none();
                if !same || is_announced {
                    return Err(Refusal::Uniqueness("Another group has this displayName.".to_owned()));
                }
                taken.id
            }
        };
        self.announce(&id, deadline).await?;
        self.get(&id).await
    }

    /// Changes the group.
    pub async fn change(
        &self,
        id: &str,
        if_match: Option<&str>,
        change: GroupChange<'_>,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        for tried in 0..TRIES {
            self.pause(tried).await;
            let group = self.load(id).await?;
            let before = self.document(&group);
            check_if_match(if_match, &before)?;
            let after = match change {
                GroupChange::Replace(document) => document.clone(),
                GroupChange::Patch(operations) => apply(&self.schema, &before, operations)?,
            };
            let members = members(&after)?;
            let changed = Group {
                external_id: external_id(&after),
                updated_at: self.users.clock_rng.now(),
                ..self.users.group_roles.renamed(group.clone(), display_name(&after)?)
            };
            let changed = self.with_members(changed, &members, deadline).await?;
            self.check_admins(&changed, deadline).await?;
            let untouched = changed.display_name == group.display_name
                && changed.external_id == group.external_id
                && changed.members == group.members;
            let written = if untouched { GroupWritten::Yes } else { self.scim().put_group(&changed).await? };
            match written {
                GroupWritten::Yes => {
                    self.announce(id, deadline).await?;
                    return self.get(id).await;
                }
                GroupWritten::NameTaken => {
                    return Err(Refusal::Uniqueness("Another group has this displayName.".to_owned()));
                }
                GroupWritten::Moved => {}
            }
        }
        Err(Refusal::LOST_RACE)
    }

    /// Deletes the group, so its members lose the group's role.
    pub async fn delete(&self, id: &str, if_match: Option<&str>, deadline: Deadline) -> Result<(), Refusal> {
        let mut if_match = if_match;
        for tried in 0..TRIES {
            self.pause(tried).await;
            let group = self.load(id).await?;
            check_if_match(if_match, &self.document(&group))?;
            let emptied = self.with_members(group, &[], deadline).await?;
            self.check_admins(&emptied, deadline).await?;
            match self.scim().put_group(&emptied).await? {
                GroupWritten::Yes => {
                    self.announce(id, deadline).await?;
                    let announced = self.load(id).await?;
                    // Somebody may have joined in the meantime, and would keep the group's role after the deletion. So
                    // delete the group only if it is still empty.
                    if announced.members.is_empty() && self.scim().remove_group(id, announced.version).await? {
                        return Ok(());
                    }
                    // This request itself has changed the group's version, so `If-Match` no longer applies.
                    if_match = None;
                }
                GroupWritten::NameTaken | GroupWritten::Moved => {}
            }
        }
        Err(Refusal::LOST_RACE)
    }

    /// Sets which members are present, and returns the group. A member who is not in `members` leaves the group. If the
    /// group gives a role, or gave this member a role, the member stays in the list, marked as not present. The member
    /// is removed when Flexgate has reconciled them, or has queued a job that will.
    async fn with_members(
        &self,
        mut group: Group,
        members: &[FlexUserSid],
        deadline: Deadline,
    ) -> Result<Group, Refusal> {
        let role = self.users.group_roles.of(&group.display_name);
        if let Some(role) = role.filter(|role| !self.users.policy.allowed_roles.contains(role))
            && !members.is_empty()
        {
            return Err(Refusal::RoleForbidden(role));
        }
        let known: BTreeSet<FlexUserSid> = group.members.iter().map(|member| member.user.clone()).collect();
        for member in &mut group.members {
            // `members` is sorted.
            member.present = members.binary_search(&member.user).is_ok();
        }
        group.members.retain(|member| member.present || member.announced.is_some() || role.is_some());
        let new: Vec<&FlexUserSid> = members.iter().filter(|user| !known.contains(*user)).collect();
        // If the group gives a role, its new members must exist at Twilio. If there are many new members, leave this
        // check to the jobs that reconcile them.
        if role.is_some() && new.len() <= AT_ONCE {
            for user in &new {
                if !self.users.exists(user.as_str(), deadline).await? {
                    return Err(wrong("members.value", "must be the id of a user"));
                }
            }
        }
        let joins = |user: &FlexUserSid| Member { user: user.clone(), present: true, announced: None };
        group.members.extend(new.into_iter().map(joins));
        group.members.sort_by(|a, b| a.user.cmp(&b.user));
        Ok(group)
    }

    /// Refuses a change that would leave Flex without an administrator.
    async fn check_admins(&self, group: &Group, deadline: Deadline) -> Result<(), Refusal> {
        let open = self.users.group_roles.unannounced(group);
        let leaving: Vec<FlexUserSid> =
            open.filter(|member| member.announced == Some(Role::Admin)).map(|member| member.user.clone()).collect();
        if leaving.len() > AT_ONCE {
            // More than `AT_ONCE` members would lose the role `admin`. Jobs make these changes, one member at a time,
            // so do not check the changes here. If a job would remove the last administrator, the job becomes a dead
            // letter.
            return Ok(());
        }
        Ok(self.users.ledger.check_leaving(&group.id, &leaving, deadline).await?)
    }

    /// Reconciles each member whose change is not announced yet, or queues a job for that member. Then marks these
    /// changes as announced, so that no later write repeats the work.
    async fn announce(&self, id: &str, deadline: Deadline) -> Result<(), Refusal> {
        for tried in 0..TRIES {
            self.pause(tried).await;
            let group = self.load(id).await?;
            let open: Vec<Member> = self.users.group_roles.unannounced(&group).cloned().collect();
            if open.is_empty() {
                return Ok(());
            }
            let mut later: &[Member] = &open;
            let mut inactive = Vec::new();
            while let Some((member, others)) = later.split_first().filter(|_| open.len() <= AT_ONCE) {
                let left = member.announced.map(|role| (id, role));
                let report = match self.users.ledger.reconcile_member(&member.user, left, deadline).await {
                    // Another process is changing this person. Queue jobs for this person and the remaining members, so
                    // that the client need not wait.
                    Err(LedgerError::Busy(_)) => break,
                    done => done?,
                };
                if report.and_then(|report| report.user).is_none_or(|user| !user.is_active()) {
                    inactive.push(member.user.clone());
                }
                later = others;
            }
            if !later.is_empty() {
                let job = |member: &Member| ChangedMember { user: member.user.clone(), had: member.announced };
                let later: Vec<ChangedMember> = later.iter().map(job).collect();
                let jobs = Message::fan_out(id, group.version, &later);
                self.users.queue.send(&jobs, self.users.clock_rng.now()).await?;
            }
            let mut announced = self.users.group_roles.announced(group);
            self.remove_deleted(&mut announced, &inactive).await?;
            match self.scim().put_group(&announced).await? {
                GroupWritten::Yes => return Ok(()),
                GroupWritten::Moved | GroupWritten::NameTaken => {}
            }
        }
        Err(Refusal::LOST_RACE)
    }

    /// Removes from the group those users in `inactive` who were deleted. When a user is deleted, the user's
    /// memberships end, but a concurrent write to the group may add a membership after that.
    async fn remove_deleted(&self, group: &mut Group, inactive: &[FlexUserSid]) -> Result<(), Refusal> {
        if inactive.is_empty() {
            return Ok(());
        }
        let mut entries = self.scim().entries(inactive).await?;
        entries.retain(|entry| entry.deleted);
        group.members.retain(|member| entries.iter().all(|deleted| deleted.id != member.user));
        Ok(())
    }

    /// Waits for a random time, so that two colliding writes do not collide again.
    async fn pause(&self, tried: u32) {
        tokio::time::sleep(self.users.clock_rng.jitter(PAUSE * tried.min(8))).await;
    }

    async fn load(&self, id: &str) -> Result<Group, Refusal> {
        self.scim().group(id).await?.ok_or(Refusal::Unknown)
    }

    fn document(&self, group: &Group) -> Document {
        let mut document = Document::new();
        document.insert("id".to_owned(), group.id.as_str().into());
        document.extend(group.external_id.as_deref().map(|id| ("externalId".to_owned(), id.into())));
        document.insert("displayName".to_owned(), group.display_name.as_str().into());
        let members: Vec<Value> = present(group)
            .map(|user| json!({ "value": user, "$ref": format!("{}/Users/{user}", self.users.base) }))
            .collect();
        // Include the list even if it is empty. If it were missing, some clients would conclude that they have no
        // permission to read the members.
        document.insert("members".to_owned(), members.into());
        document.insert(
            "meta".to_owned(),
            json!({ "created": in_millis(group.created_at), "lastModified": in_millis(group.updated_at) }),
        );
        document
    }

    fn show(&self, group: &Group) -> Document {
        complete(&self.schema, self.document(group), &self.users.base)
    }
}

fn present(group: &Group) -> impl Iterator<Item = &FlexUserSid> {
    group.members.iter().filter(|member| member.present).map(|member| &member.user)
}

fn external_id(document: &Document) -> Option<String> {
    document.get("externalId").and_then(Value::as_str).map(str::to_owned)
}

fn display_name(document: &Document) -> Result<String, Refusal> {
    let name = document.get("displayName").and_then(Value::as_str).unwrap_or_default();
    if name.trim().is_empty() || name.chars().count() > 256 {
        return Err(wrong("displayName", "must have 1 to 256 characters"));
    }
    check_seen(name, |_| false).map_err(|error| wrong("displayName", error))?;
    Ok(name.to_owned())
}

fn members(document: &Document) -> Result<Vec<FlexUserSid>, Refusal> {
    let listed = document.get("members").and_then(Value::as_array);
    let read = |member: &Value| {
        let id = member.get("value").and_then(Value::as_str).and_then(|text| text.parse().ok());
        id.ok_or_else(|| wrong("members.value", "must be the id of a user; groups in groups are not supported"))
    };
    let mut members: Vec<FlexUserSid> = listed.into_iter().flatten().map(read).collect::<Result<_, _>>()?;
    if members.len() > MAX_MEMBERS {
        return Err(wrong("members", "may be 10000 at most"));
    }
    members.sort();
    members.dedup();
    Ok(members)
}
