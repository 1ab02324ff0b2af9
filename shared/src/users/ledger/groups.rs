//! SCIM groups: what a membership says of a person.
//!
//! A group and its list of members are the statement, and the SCIM store holds them. The ledger keeps a projection: for
//! each person and group, which role the group gives. Whoever reconciles a person brings the projection up to date
//! first, under the person's lease, so it does not matter in which order groups and people change.

use std::collections::BTreeSet;

use super::{Ledger, LedgerError, Report, legacy};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Person, PersonId, Said, Source, Statement, desired};
use crate::domain::{EventId, FlexUser, FlexUserSid, Role};
use crate::store::scim::{Entry, Membership};
use crate::store::{PersonKey, Stating, Written};
use crate::twilio::TwilioError;

/// What SCIM keeps of a person beside the ledger.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) entry: Option<Entry>,
    pub(super) memberships: Vec<Membership>,
}

/// Adds what follows from what SCIM keeps to what the person's sources say.
pub(super) fn adopt(person: &mut Person, source: Source, statement: Statement) {
    if source == Source::Scim {
        // The version before gave these roles and kept no account of it.
        let names = statement.roles.iter().flat_map(|said| &said.value);
        person.given.roles.extend(names.filter_map(|name| name.parse::<Role>().ok()));
    }
    person.statements.insert(source, statement);
}

impl Ledger {
    /// Brings a member of a SCIM group in step, whom SCIM knows by `id`. `left` is a role that the person had by a
    /// group of that id and that counts as given although no statement says so. `None` if there is no such Flex user.
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

    /// Refuses if nobody would be left to administer Flex once these members are no longer in that group.
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

    /// The person whom SCIM knows by that id; one of whom the ledger knows nothing is added to it.
    async fn member(&self, id: &FlexUserSid, deadline: Deadline) -> Result<Option<PersonId>, LedgerError> {
        if let Some(person) = self.people.person(&PersonKey::FlexUser(id.clone())).await? {
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
            Written::Moved => Err(LedgerError::Busy),
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

    /// What SCIM keeps of the person.
    pub(super) async fn kept(&self, person: &Person) -> Result<Kept, LedgerError> {
        let Some(sid) = &person.flex_user_sid else { return Ok(Kept::default()) };
        let entries = self.scim.entries(std::slice::from_ref(sid)).await?;
        let entry = entries.into_iter().find(|entry| entry.current == *sid);
        let id = entry.as_ref().map_or(sid, |entry| &entry.id);
        let memberships = self.scim.memberships(std::slice::from_ref(id)).await?;
        Ok(Kept { entry, memberships })
    }

    /// Ends the memberships of whoever had the Flex user before: they are not the next owner's.
    pub(super) async fn leave_groups(&self, user: &FlexUserSid) -> Result<(), LedgerError> {
        let entries = self.scim.entries(std::slice::from_ref(user)).await?;
        let entry = entries.iter().find(|entry| entry.current == *user);
        Ok(self.scim.leave_all(entry.map_or(user, |entry| &entry.id)).await?)
    }

    /// The person with what SCIM keeps of them. It is written to the ledger where that does not hold it yet. `None` if
    /// somebody else has written meanwhile.
    pub(super) async fn projected(
        &self,
        mut person: Person,
        left: Option<(&str, Role)>,
    ) -> Result<Option<Person>, LedgerError> {
        for (source, statement) in self.due(&person, &self.kept(&person).await?, left) {
            let stating = Stating { source: &source, statement: &statement, subject: None };
            match self.people.state(person.id, person.version, stating).await? {
                Written::Yes(version) => person.version = version,
                Written::Moved => return Ok(None),
            }
            adopt(&mut person, source, statement);
        }
        // What counts as given now is written down with what the reconciliation gives.
        person.given.roles.extend(left.map(|(_, role)| role));
        Ok(Some(person))
    }

    /// The statements that follow from what SCIM keeps and that the person does not have yet.
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
        // Without the setting nothing is known of what groups give, and what they gave stays until somebody leaves.
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
