//! Users: found, created, changed, deleted.

use std::sync::Arc;

use flexgate::base::ambient::Ambient;
use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::Policy;
use flexgate::domain::{FlexUserSid, Role, RoleSet, Username};
use flexgate::store::Directory;
use flexgate::store::directory::{Begun, Entry, folded};
use flexgate::users::Provisioning;
use flexgate::users::ledger::Ledger;
use serde_json::Value;

use super::person::{self, Person};
use super::protocol::{Document, Operation, Page, Paging, Plan, Schema, Test, apply, complete, version};
use super::refusal::Refusal;
use super::resources::user_schema;
use super::settings::ScimSettings;

/// A write that loses a race is tried again this often.
const TRIES: usize = 3;

/// How a user is changed.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Replace(&'a Document),
    Patch(&'a [Operation]),
}

/// Users over Flex and the directory.
#[derive(Debug)]
pub struct Users {
    pub(super) schema: Schema,
    pub(super) base: String,
    pub(super) provisioning: Arc<Provisioning>,
    pub(super) ledger: Ledger,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) settings: ScimSettings,
    pub(super) policy: Policy,
    pub(super) ambient: Ambient,
}

impl Users {
    /// Users, whose resources are found below `base`.
    #[must_use]
    pub fn new(
        base: String,
        provisioning: Arc<Provisioning>,
        ledger: Ledger,
        directory: Arc<dyn Directory>,
        settings: ScimSettings,
        policy: Policy,
        ambient: Ambient,
    ) -> Self {
        let schema = user_schema(&settings.worker_fields);
        Self { schema, base, provisioning, ledger, directory, settings, policy, ambient }
    }

    /// Their schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn show(&self, person: &Person) -> Document {
        complete(&self.schema, person.document(&self.base), &self.base)
    }

    /// The user of that `id`.
    pub async fn get(&self, id: &str, deadline: Deadline) -> Result<Document, Refusal> {
        Ok(self.show(&self.load(id, deadline).await?))
    }

    /// The users that match, or a page of all of them.
    pub async fn search(&self, test: Option<&Test>, paging: &Paging, deadline: Deadline) -> Result<Page, Refusal> {
        let found = match test.map(Test::plan) {
            Some(Plan::UserName(name)) => match name.parse() {
                Ok(username) => self.named(&username, deadline).await?.into_iter().collect(),
                Err(_) => Vec::new(),
            },
            Some(Plan::Id(id)) => Self::known(self.load(&id, deadline).await)?,
            Some(Plan::ExternalId(external_id)) => {
                let mut found = Vec::new();
                for entry in self.directory.entries_of_external_id(&external_id).await? {
                    found.extend(Self::known(self.load(entry.id.as_str(), deadline).await)?);
                }
                found
            }
            Some(Plan::DisplayName(_) | Plan::Everything) | None => return self.page(paging, test, deadline).await,
        };
        let shown = found.iter().map(|person| self.show(person));
        let matching: Vec<_> =
            shown.filter(|shown| test.is_none_or(|test| test.matches(&self.schema, shown))).collect();
        let (start, total) = match paging {
            Paging::Index { start, .. } => (*start, matching.len() as u64),
            Paging::Cursor { .. } => (1, matching.len() as u64),
        };
        let skip = usize::try_from(start - 1).unwrap_or(usize::MAX);
        let take = usize::try_from(paging.count()).unwrap_or(usize::MAX);
        let resources = matching.into_iter().skip(skip).take(take).collect();
        Ok(Page { resources, total: Some(total), start: Some(start), next: None })
    }

    /// Creates the user.
    pub async fn create(&self, document: &Document, deadline: Deadline) -> Result<Document, Refusal> {
        let username = person::username(document)?;
        let work = format!("user:{}", folded(username.as_str()));
        let intended = self.begin(&work, deadline).await?;
        let created = self.create_once(document, &username, &work, intended, deadline).await;
        match &created {
            Ok(_) => self.directory.forget_marks().await?,
            // Nothing was sent to Twilio, or it is not to be continued.
            Err(error) if !unfinished(error) => self.directory.finish(&work).await?,
            Err(_) => self.directory.abandon(&work).await?,
        }
        created
    }

    async fn create_once(
        &self,
        document: &Document,
        username: &Username,
        work: &str,
        intended: bool,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        let existing = match self.anybody_named(username, deadline).await? {
            Some(person) if person.is_gone() || intended => Some(person),
            Some(_) => return Err(Refusal::Uniqueness("Another user has this userName.".to_owned())),
            None => None,
        };
        // Twilio knows a user that is made again by its old spelling.
        let username = existing.as_ref().map_or(username, |person| &person.user.username).clone();
        let memberships = existing.as_ref().map(|person| person.memberships.clone()).unwrap_or_default();
        let asked = document.get("roles").map(person::roles).transpose()?.filter(|roles| !roles.is_empty());
        if let Some(role) = asked.as_ref().and_then(|roles| self.policy.forbidden_role(roles)) {
            return Err(Refusal::RoleForbidden(role));
        }
        let given = self.given(&memberships);
        let stated: RoleSet = asked.unwrap_or_default().union(&given).copied().collect();
        let roles = self.with_default(stated.clone())?;
        let desired = Self::desired(document, &username, roles, self.fields(None, document))?;
        person::check_locale(document)?;
        let user = existing.as_ref().map(|person| &person.user.flex_user_sid);
        self.note(&username, user, Some(true), Some(stated)).await?;
        self.directory.intend(work).await?;

        let user = self.provisioning.flex().provision(&desired, deadline).await?;
        let mut person = Person {
            user: person::filled(user, &desired)?,
            entry: existing.and_then(|old| old.entry),
            memberships,
            held_inactive: false,
        };
        self.set_locale(&mut person.user, document, deadline).await?;
        if document.get("active") == Some(&Value::Bool(false)) {
            let user = &person.user.flex_user_sid;
            self.note(&username, Some(user), Some(false), None).await?;
            self.provisioning.deprovision(user, deadline).await?;
            person.user.deactivated = Some(true);
        }
        if self.remember(&mut person, None, document, Some(work)).await? {
            Ok(self.show(&person))
        } else {
            Err(Refusal::Busy)
        }
    }

    /// Replaces what the client may write. What it leaves out is removed; but roles, whether the user is
    /// active, and what Flex cannot be without stay as they were.
    pub async fn replace(
        &self,
        id: &str,
        if_match: Option<&str>,
        document: &Document,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        person::username(document)?;
        self.change(id, if_match, Change::Replace(document), deadline).await
    }

    /// Applies operations.
    pub async fn patch(
        &self,
        id: &str,
        if_match: Option<&str>,
        operations: &[Operation],
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        self.change(id, if_match, Change::Patch(operations), deadline).await
    }

    async fn change(
        &self,
        id: &str,
        if_match: Option<&str>,
        change: Change<'_>,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        for _ in 0..TRIES {
            let mut person = self.load(id, deadline).await?;
            let before = person.document(&self.base);
            fresh(if_match, &before)?;
            let after = match change {
                Change::Replace(document) => replaced(&before, document),
                Change::Patch(operations) => apply(&self.schema, &before, operations)?,
            };
            // Flex has not caught up with a deactivation yet: the same request again makes it.
            if after == before && !person.held_inactive {
                return Ok(self.show(&person));
            }
            self.same_name(&person, &after, deadline).await?;
            self.carry_out(&mut person, &before, &after, deadline).await?;
            if self.remember(&mut person, Some(&before), &after, None).await? {
                return Ok(self.show(&person));
            }
        }
        Err(Refusal::Busy)
    }

    /// Deprovisions the user, and keeps that it was deleted.
    pub async fn delete(&self, id: &str, if_match: Option<&str>, deadline: Deadline) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let mut person = self.load(id, deadline).await?;
            fresh(if_match, &person.document(&self.base))?;
            if person.is_active() {
                self.deactivate(&mut person, true, deadline).await?;
            } else {
                self.note(&person.user.username, Some(&person.user.flex_user_sid), Some(false), Some(RoleSet::new()))
                    .await?;
            }
            let sid: FlexUserSid = id.parse().map_err(|_| Refusal::Unknown)?;
            self.directory.leave_all(&sid).await?;
            let entry = person.entry.take().unwrap_or_else(|| self.new_entry(&person.user));
            let entry = Entry { deleted: true, external_id: None, updated_at: self.ambient.now(), ..entry };
            if self.directory.put_entry(&entry, None).await? {
                self.directory.forget_marks().await?;
                return Ok(());
            }
        }
        Err(Refusal::Busy)
    }

    /// Gives or takes a role, for a group. A user who is not active gets it when made active again.
    pub(super) async fn shift_role(
        &self,
        id: &str,
        group: &str,
        take: Option<Role>,
        give: Option<Role>,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let Some(person) = Self::known(self.load(id, deadline).await)?.pop() else { return Ok(()) };
        let others: Vec<_> =
            person.memberships.iter().filter(|membership| membership.group != group).cloned().collect();
        let mut stated = self.given(&others);
        stated.extend(person.asserted_roles().unwrap_or_default());
        let kept = stated.clone();
        stated.extend(give);
        let note = self.note(&person.user.username, Some(&person.user.flex_user_sid), None, Some(stated));
        if !person.is_active() {
            return note.await;
        }
        let known = person.user.roles.as_ref().map(|roles| roles.known().clone()).unwrap_or_default();
        let mut roles = known.clone();
        if let Some(role) = take.filter(|role| !kept.contains(role)) {
            roles.remove(&role);
        }
        roles.extend(give);
        let roles = self.with_default(roles)?;
        if roles == known {
            return note.await;
        }
        let document = person.document(&self.base);
        let desired = Self::desired(&document, &person.user.username, roles, Document::new())?;
        self.sparing_last_admin(&person, &desired.roles, deadline, async {
            note.await?;
            self.provisioning.flex().provision(&desired, deadline).await?;
            Ok(())
        })
        .await
    }

    /// Whether there is such a user.
    pub(super) async fn exists(&self, id: &str, deadline: Deadline) -> Result<bool, Refusal> {
        Ok(!Self::known(self.load(id, deadline).await)?.is_empty())
    }

    pub(super) async fn begin(&self, work: &str, deadline: Deadline) -> Result<bool, Refusal> {
        let now = self.ambient.now();
        let until = now + deadline.remaining() + std::time::Duration::from_secs(1);
        match self.directory.begin(work, now, until).await? {
            Begun::Yes { intended } => Ok(intended),
            Begun::Busy => Err(Refusal::Busy),
        }
    }
}

/// Whether a failure may have left something done at Twilio, so that the next attempt goes on with it.
fn unfinished(error: &Refusal) -> bool {
    matches!(error, Refusal::Twilio(_) | Refusal::Store(_) | Refusal::Busy | Refusal::StaysDeactivated)
}

/// `If-Match` (RFC 7644 §3.14): any of the listed versions, or `*`.
pub(super) fn fresh(if_match: Option<&str>, document: &Document) -> Result<(), Refusal> {
    let Some(tags) = if_match else { return Ok(()) };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let version = opaque(&version(document));
    let matches = tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == version);
    if matches { Ok(()) } else { Err(Refusal::Stale) }
}

/// The resource after a `PUT`.
fn replaced(before: &Document, document: &Document) -> Document {
    let mut after = document.clone();
    let keep = |after: &mut Document, name: &str| {
        if let (None, Some(value)) = (after.get(name), before.get(name)) {
            after.insert(name.to_owned(), value.clone());
        }
    };
    for name in ["id", "meta", "groups", "active", "roles", "emails", "locale"] {
        keep(&mut after, name);
    }
    if !after.contains_key("name") && !after.contains_key("displayName") {
        keep(&mut after, "name");
        keep(&mut after, "displayName");
    }
    after
}
