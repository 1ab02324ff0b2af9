//! SCIM groups: turns memberships into statements about people.
//!
//! The SCIM store contains the authoritative list of each group's members. From this list, the ledger derives a
//! statement for each person and group. Every reconciliation first updates these statements. So it does not matter
//! whether a group or a person changes first.

use std::collections::BTreeSet;

use super::{Ledger, LedgerError, Report, legacy};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement, desired};
use crate::domain::{EventId, FlexUser, FlexUserSid, Role};
use crate::store::scim::{Entry, Membership};
use crate::store::{PersonKey, Stating, Written};
use crate::twilio::TwilioError;
use crate::users::Pages;

/// The data about a person in the SCIM store.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) entry: Option<Entry>,
    pub(super) memberships: Vec<Membership>,
}

/// Adds to the person a statement that is derived from the SCIM store.
pub(super) fn adopt(person: &mut Person, source: Source, statement: Statement) {
    if source == Source::Scim {
        // This statement comes from the data of a version before 0.2.0. That version did not record that Flexgate gave
        // these roles, so record it now.
        let names = statement.roles.iter().flat_map(|said| &said.value);
        person.given.roles.extend(names.filter_map(|name| name.parse::<Role>().ok()));
    }
    person.statements.insert(source, statement);
}

impl Ledger {
    /// Reconciles the SCIM group member whose SCIM id is `id`. Returns `None` if there is no such Flex user.
    ///
    /// `left` is the id of a group that the member has left, and the role that the group gave. Flexgate treats this
    /// role as given by Flexgate, even if no statement mentions the role.
    pub async fn reconcile_member(
        &self,
        id: &FlexUserSid,
        left: Option<(&str, Role)>,
        deadline: Deadline,
    ) -> Result<Option<Report>, LedgerError> {
        let Some(person) = self.member(id, deadline).await? else { return Ok(None) };
        let lease = self.lease(person, deadline).await?;
        let done = self.round(person, left, deadline).await;
        self.finish(lease, person, done, deadline).await
    }

    /// Returns an error if Flex would have no active administrator after these members leave the group.
    pub async fn check_leaving(
        &self,
        group: &str,
        members: &[FlexUserSid],
        deadline: Deadline,
    ) -> Result<(), LedgerError> {
        let mut leaving: Vec<FlexUser> = Vec::new();
        for id in members {
            let Some(user) = self.flex_user_of(id, deadline).await? else { continue };
            let key = PersonKey::FlexUser(user.flex_user_sid.clone());
            let Some(mut person) = self.people.person(&key).await? else { continue };
            person.statements.remove(&Source::ScimGroup(group.into()));
            let after = desired(&person, &self.policy, Some(&user), &self.occasion());
            if after.is_some_and(|after| self.takes_an_admin(Some(&user), &after)) {
                leaving.push(user);
            }
        }
        match leaving.split_last() {
            Some((last, others)) => self.another_admin_beside(last, others, deadline).await,
            None => Ok(()),
        }
    }

    /// Finds the person with this SCIM id. Adds the person to the ledger if they are missing.
    async fn member(&self, id: &FlexUserSid, deadline: Deadline) -> Result<Option<PersonId>, LedgerError> {
        let person = self.people.person(&PersonKey::FlexUser(id.clone())).await?;
        if let Some(person) = person.filter(|person| !person.superseded) {
            return Ok(Some(person.id));
        }
        let Some(user) = self.flex_user_of(id, deadline).await? else { return Ok(None) };
        for key in [PersonKey::FlexUser(user.flex_user_sid.clone()), PersonKey::Username(user.username.key())] {
            if let Some(person) = self.people.person(&key).await? {
                return Ok(Some(person.id));
            }
        }
        let new = PersonId::of(self.clock_rng.random());
        let person = Person { flex_user_sid: Some(user.flex_user_sid), ..Person::new(new, user.username) };
        match self.people.add(&person, None).await? {
            Written::Yes(_) => Ok(Some(new)),
            Written::Moved => Err(LedgerError::LOST_RACE),
        }
    }

    async fn flex_user_of(&self, id: &FlexUserSid, deadline: Deadline) -> Result<Option<FlexUser>, LedgerError> {
        let entry = self.scim.entry(id).await?;
        let current = entry.as_ref().map_or(id, |entry| &entry.current);
        match self.provisioning.flex().get(current, deadline).await {
            Err(TwilioError::NotFound(_)) => Ok(None),
            user => Ok(Some(user?)),
        }
    }

    /// Reads the person's SCIM entry and group memberships from the SCIM store.
    pub(super) async fn kept(&self, person: &Person) -> Result<Kept, LedgerError> {
        let Some(sid) = &person.flex_user_sid else { return Ok(Kept::default()) };
        let entries = self.scim.entries(std::slice::from_ref(sid)).await?;
        let entry = entries.into_iter().find(|entry| entry.current == *sid);
        let id = entry.as_ref().map_or(sid, |entry| &entry.id);
        let memberships = self.scim.memberships(std::slice::from_ref(id)).await?;
        Ok(Kept { entry, memberships })
    }

    /// Ends the group memberships of a Flex user's previous owner, so that the next owner does not inherit them.
    pub(super) async fn leave_groups(&self, user: &FlexUserSid) -> Result<(), LedgerError> {
        let entries = self.scim.entries(std::slice::from_ref(user)).await?;
        let entry = entries.iter().find(|entry| entry.current == *user);
        Ok(self.scim.leave_all(entry.map_or(user, |entry| &entry.id)).await?)
    }

    /// Finds the Flex users whose SCIM data was stored by a version before 0.2.0 and is not in the ledger yet. Returns
    /// each user's SCIM id, and the person with the statement from this data.
    pub(super) async fn unadopted(
        &self,
        each_call: impl Fn() -> Deadline,
    ) -> Result<Vec<(FlexUserSid, Person)>, LedgerError> {
        let (mut unadopted, mut pages) = (Vec::new(), Pages::of(self.provisioning.flex()));
        while let Some(users) = pages.next(each_call()).await? {
            let sids: Vec<FlexUserSid> = users.iter().map(|user| user.flex_user_sid.clone()).collect();
            for entry in self.scim.entries(&sids).await? {
                let Some(user) = users.iter().find(|user| user.flex_user_sid == entry.current) else { continue };
                let mut person = match self.people.person(&PersonKey::FlexUser(entry.current.clone())).await? {
                    Some(person) => person,
                    None => Person::new(PersonId::of(self.clock_rng.random()), user.username.clone()),
                };
                let id = entry.id.clone();
                let due = self.due(&person, &Kept { entry: Some(entry), memberships: Vec::new() }, None);
                let said = due.into_iter().find(|(source, _)| *source == Source::Scim);
                if let Some((source, said)) = said.filter(|_| !person.superseded) {
                    adopt(&mut person, source, said);
                    unadopted.push((id, person));
                }
            }
        }
        Ok(unadopted)
    }

    /// Copies the SCIM data of versions before 0.2.0 into the ledger, for the person with this SCIM id. Flex does not
    /// change.
    pub(super) async fn adopt_member(&self, id: &FlexUserSid, deadline: Deadline) -> Result<(), LedgerError> {
        let Some(id) = self.member(id, deadline).await? else { return Ok(()) };
        let lease = self.lease(id, deadline).await?;
        let adopted = async {
            match self.people.person(&PersonKey::Id(id)).await? {
                Some(person) => Ok::<_, LedgerError>(self.projected(person, None).await?.is_some()),
                None => Ok(true),
            }
        }
        .await;
        self.people.release(id, lease.holder(), None).await?;
        if adopted? { Ok(()) } else { Err(LedgerError::LOST_RACE) }
    }

    /// Records in the SCIM store that a person's Flex user is now `new` instead of `old`. The person's SCIM id and
    /// memberships do not change.
    pub(super) async fn follow_in_scim(&self, old: &FlexUserSid, new: &FlexUser) -> Result<(), LedgerError> {
        let users = std::slice::from_ref(old);
        let entry = self.scim.entries(users).await?.into_iter().find(|entry| entry.current == *old);
        if entry.is_none() && self.scim.memberships(users).await?.is_empty() {
            return Ok(());
        }
        let unknown = || Entry {
            id: old.clone(),
            current: old.clone(),
            username: new.username.clone(),
            external_id: None,
            asserted: serde_json::Map::new(),
            deleted: false,
            version: 0,
            updated_at: self.clock_rng.now(),
        };
        let entry = Entry { current: new.flex_user_sid.clone(), ..entry.unwrap_or_else(unknown) };
        // If a SCIM request writes the entry first, this write fails, and the next reconciliation tries again.
        if self.scim.put_entry(&entry, None).await? { Ok(()) } else { Err(LedgerError::LOST_RACE) }
    }

    /// Derives statements from the SCIM store, and stores those that are missing from the ledger. Returns the person
    /// with these statements, or `None` if another process changes the person first.
    pub(super) async fn projected(
        &self,
        mut person: Person,
        left: Option<(&str, Role)>,
    ) -> Result<Option<Person>, LedgerError> {
        for (source, statement) in self.due(&person, &self.kept(&person).await?, left) {
            let mut after = person.clone();
            adopt(&mut after, source.clone(), statement);
            let given = Some(&after.given).filter(|given| **given != person.given);
            let stating = Stating { source: &source, statement: &after.statements[&source], subject: None, given };
            match self.people.state(person.id, person.version, stating).await? {
                Written::Yes(version) => person = Person { version, ..after },
                Written::Moved => return Ok(None),
            }
        }
        // The person got a role from the group that they left. Add this role to the roles that Flexgate gave. The
        // reconciliation stores these roles later.
        person.given.roles.extend(left.map(|(_, role)| role));
        Ok(Some(person))
    }

    /// Derives statements from the SCIM store. Returns those that the person lacks.
    pub(super) fn due(&self, person: &Person, kept: &Kept, left: Option<(&str, Role)>) -> Vec<(Source, Statement)> {
        let (now, cause) = (self.clock_rng.now(), EventId::from(u128::from_be_bytes(self.clock_rng.random())));
        let mut due = Vec::new();
        let mut says = |source: Source, said: Statement| {
            let mut statement = person.statements.get(&source).cloned().unwrap_or_default();
            let said = said.made_after(statement.latest());
            statement.merge(said);
            due.push((source, statement));
        };
        if let Some(said) = kept.entry.as_ref().and_then(|entry| legacy::said(person, entry, now, &cause)) {
            says(Source::Scim, said);
        }
        // Without `FLEXGATE_SCIM_GROUP_ROLES`, the roles of groups are unknown. So an earlier role from a group stays
        // until the member leaves the group.
        let is_known = !self.group_roles.is_empty();
        let present = kept.memberships.iter().filter(|membership| membership.present && is_known);
        let mut roles: Vec<(&str, Option<Role>)> =
            present.map(|one| (one.group.as_str(), self.group_roles.of(&one.display_name))).collect();
        let is_member = |group: &str| kept.memberships.iter().any(|one| one.present && one.group == group);
        for source in person.statements.keys() {
            if let Source::ScimGroup(group) = source
                && !is_member(group)
            {
                roles.push((group, None));
            }
        }
        let left = left.map(|(group, _)| group).filter(|group| !roles.iter().any(|(known, _)| known == group));
        roles.extend(left.map(|group| (group, None)));
        for (group, role) in roles {
            let source = Source::ScimGroup(group.into());
            let known = person.statements.get(&source).and_then(|said| said.roles.as_ref());
            let names: BTreeSet<Box<str>> = role.iter().map(|role| role.as_str().into()).collect();
            let is_new = known.map_or(role.is_some() || left == Some(group), |known| known.value != names);
            if is_new {
                says(source, Statement { roles: Some(Said::new(now, &cause, names)), ..Statement::default() });
            }
        }
        due
    }
}
