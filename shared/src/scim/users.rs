//! Users: found, created, changed, deleted.

use std::sync::Arc;

use serde_json::Value;

use super::paging::{Page, Paging};
use super::person::{self, Person};
use super::schema::{FLEX_USER, Schema};
use super::settings::{LastAdmin, ScimSettings, given_by};
use super::{Document, Operation, Plan, Refusal, Test, patch, view};
use crate::ambient::Ambient;
use crate::domain::policy::Policy;
use crate::domain::{DesiredUser, FlexUser, FlexUserSid, Role, RoleSet, Username, WorkerAttributes};
use crate::outbound::Deadline;
use crate::provisioning::Provisioning;
use crate::store::Directory;
use crate::store::directory::{Begun, Entry, Membership, folded};
use crate::twilio::{TwilioError, UserUpdate};

/// A write that loses a race is tried again this often.
const TRIES: usize = 3;

/// How a user is changed.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Replace(&'a Document),
    Patch(&'a [Operation]),
}

/// What a write did.
#[derive(Debug)]
pub struct Outcome {
    /// The user's `id`.
    pub id: String,
    /// The resource as it is now.
    pub document: Document,
}

/// Users over Flex and the directory.
#[derive(Debug)]
pub struct Users {
    pub(super) schema: Schema,
    pub(super) base: String,
    pub(super) provisioning: Arc<Provisioning>,
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
        directory: Arc<dyn Directory>,
        settings: ScimSettings,
        policy: Policy,
        ambient: Ambient,
    ) -> Self {
        let schema = Schema::user(&settings.worker_fields);
        Self { schema, base, provisioning, directory, settings, policy, ambient }
    }

    /// Their schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn show(&self, person: &Person) -> Document {
        view::complete(&self.schema, person.document(&self.base), &self.base)
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
            Some(Plan::Id(id)) => self.known(self.load(&id, deadline).await)?,
            Some(Plan::ExternalId(external_id)) => {
                let mut found = Vec::new();
                for entry in self.directory.entries_of_external_id(&external_id).await? {
                    found.extend(self.known(self.load(entry.id.as_str(), deadline).await)?);
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
    pub async fn create(&self, document: &Document, deadline: Deadline) -> Result<Outcome, Refusal> {
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
    ) -> Result<Outcome, Refusal> {
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
        let roles = self.with_default(asked.unwrap_or_default().union(&given).copied().collect())?;
        let desired = self.desired(document, &username, roles, self.fields(None, document))?;
        check_locale(document)?;
        self.directory.intend(work).await?;

        let user = self.provisioning.flex().provision(&desired, deadline).await?;
        let mut person =
            Person { user: filled(user, &desired)?, entry: existing.and_then(|old| old.entry), memberships };
        self.set_locale(&mut person.user, document, deadline).await?;
        if document.get("active") == Some(&Value::Bool(false)) {
            self.provisioning.deprovision(&person.user.flex_user_sid, deadline).await?;
            person.user.deactivated = Some(true);
        }
        match self.remember(&mut person, None, document, Some(work)).await? {
            true => Ok(Outcome { id: person.id().to_owned(), document: self.show(&person) }),
            false => Err(Refusal::Busy),
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
    ) -> Result<Outcome, Refusal> {
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
    ) -> Result<Outcome, Refusal> {
        self.change(id, if_match, Change::Patch(operations), deadline).await
    }

    async fn change(
        &self,
        id: &str,
        if_match: Option<&str>,
        change: Change<'_>,
        deadline: Deadline,
    ) -> Result<Outcome, Refusal> {
        for _ in 0..TRIES {
            let mut person = self.load(id, deadline).await?;
            let before = person.document(&self.base);
            fresh(if_match, &before)?;
            let after = match change {
                Change::Replace(document) => replaced(&before, document),
                Change::Patch(operations) => patch::apply(&self.schema, &before, operations)?,
            };
            if after == before {
                return Ok(Outcome { id: id.to_owned(), document: self.show(&person) });
            }
            self.same_name(&person, &after, deadline).await?;
            self.carry_out(&mut person, &before, &after, deadline).await?;
            if self.remember(&mut person, Some(&before), &after, None).await? {
                return Ok(Outcome { id: id.to_owned(), document: self.show(&person) });
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
                self.deactivate(&mut person, deadline).await?;
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
        let Some(person) = self.known(self.load(id, deadline).await)?.pop() else { return Ok(()) };
        if !person.is_active() {
            return Ok(());
        }
        let known = person.user.roles.as_ref().map(|roles| roles.known().clone()).unwrap_or_default();
        let others: Vec<_> =
            person.memberships.iter().filter(|membership| membership.group != group).cloned().collect();
        let mut kept = self.given(&others);
        kept.extend(person.asserted_roles().unwrap_or_default());
        let mut roles = known.clone();
        if let Some(role) = take.filter(|role| !kept.contains(role)) {
            roles.remove(&role);
        }
        roles.extend(give);
        let roles = self.with_default(roles)?;
        if roles == known {
            return Ok(());
        }
        let document = person.document(&self.base);
        let desired = self.desired(&document, &person.user.username, roles, Document::new())?;
        self.sparing_last_admin(&person, &desired.roles, deadline, async {
            self.provisioning.flex().provision(&desired, deadline).await?;
            Ok(())
        })
        .await
    }

    /// Whether there is such a user.
    pub(super) async fn exists(&self, id: &str, deadline: Deadline) -> Result<bool, Refusal> {
        Ok(!self.known(self.load(id, deadline).await)?.is_empty())
    }

    /// Brings Twilio from what was to what is asked for. Taken twice, it is as taken once.
    async fn carry_out(
        &self,
        person: &mut Person,
        before: &Document,
        after: &Document,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let was_active = person.is_active();
        let active = after.get("active").and_then(Value::as_bool).unwrap_or(was_active);
        let roles = self.roles_after(person, before, after, active)?;
        let fields = self.fields(was_active.then_some(before), after);
        let desired = self.desired(after, &person.user.username, roles, fields)?;
        check_locale(after)?;
        if !active {
            if was_active {
                self.deactivate(person, deadline).await?;
            }
            // The locale alone is changed without making the user active.
            return self.set_locale(&mut person.user, after, deadline).await;
        }
        if differs(&person.user, &desired) {
            let provisioned = self
                .sparing_last_admin(person, &desired.roles, deadline, async {
                    Ok(self.provisioning.flex().provision(&desired, deadline).await?)
                })
                .await?;
            person.user = filled(provisioned, &desired)?;
        }
        self.set_locale(&mut person.user, after, deadline).await
    }

    fn roles_after(
        &self,
        person: &Person,
        before: &Document,
        after: &Document,
        active: bool,
    ) -> Result<RoleSet, Refusal> {
        let known = person.user.roles.as_ref().map(|roles| roles.known().clone());
        let given = self.given(&person.memberships);
        let written = after.get("roles") != before.get("roles");
        let roles: RoleSet = if written {
            let asked = after.get("roles").map(person::roles).transpose()?.unwrap_or_default();
            // A role that the user has already is not given by writing it again.
            let held = if person.is_active() { known.unwrap_or_default() } else { RoleSet::new() };
            if let Some(role) = self.policy.forbidden_role(&asked.difference(&held).copied().collect()) {
                return Err(Refusal::RoleForbidden(role));
            }
            asked.union(&given).copied().collect()
        } else if person.is_active() {
            known.unwrap_or_default()
        } else {
            let kept = person.asserted_roles().or(known).unwrap_or_default();
            let may = kept.intersection(&self.policy.allowed_roles).copied().collect::<RoleSet>();
            may.union(&given).copied().collect()
        };
        if active { self.with_default(roles) } else { Ok(roles) }
    }

    async fn deactivate(&self, person: &mut Person, deadline: Deadline) -> Result<(), Refusal> {
        let user = person.user.flex_user_sid.clone();
        self.sparing_last_admin(person, &RoleSet::new(), deadline, async {
            match self.provisioning.deprovision(&user, deadline).await {
                Err(crate::provisioning::ProvisioningError::Twilio(TwilioError::NotFound(_))) => Err(Refusal::Unknown),
                other => Ok(other?),
            }
        })
        .await?;
        person.user.deactivated = Some(true);
        person.user.worker_sid = None;
        Ok(())
    }

    /// Does `work`, after which the user has `roles`, unless that takes the last administrator away. Two
    /// who take away the last two must not both find the other one still there: one at a time.
    async fn sparing_last_admin<T>(
        &self,
        person: &Person,
        roles: &RoleSet,
        deadline: Deadline,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let is_admin = person.user.roles.as_ref().is_none_or(|roles| roles.known().contains(&Role::Admin));
        let guarded = self.settings.last_admin == LastAdmin::Protected && person.is_active() && is_admin;
        if !guarded || roles.contains(&Role::Admin) {
            return work.await;
        }
        const ADMINS: &str = "admins";
        self.begin(ADMINS, deadline).await?;
        let done = match self.another_admin(&person.user, deadline).await {
            Ok(true) => work.await,
            Ok(false) => Err(Refusal::LastAdmin),
            Err(error) => Err(error),
        };
        self.directory.finish(ADMINS).await?;
        done
    }

    async fn another_admin(&self, than: &FlexUser, deadline: Deadline) -> Result<bool, Refusal> {
        if than.roles.as_ref().is_some_and(|roles| !roles.known().contains(&Role::Admin)) {
            return Ok(true);
        }
        let mut token = None;
        loop {
            let page = self.provisioning.flex().list(1_000, token.as_deref(), deadline).await?;
            let another = page.users.iter().any(|user| {
                let admin = user.roles.as_ref().is_some_and(|roles| roles.known().contains(&Role::Admin));
                admin && user.deactivated == Some(false) && user.flex_user_sid != than.flex_user_sid
            });
            match page.next_page_token {
                _ if another => return Ok(true),
                Some(next) => token = Some(next),
                None => return Ok(false),
            }
        }
    }

    /// The roles that memberships give, as far as the policy lets them.
    fn given(&self, memberships: &[Membership]) -> RoleSet {
        let names = memberships.iter().filter(|membership| membership.present).map(|m| m.display_name.as_str());
        let given = given_by(&self.settings.group_roles, names);
        given.intersection(&self.policy.allowed_roles).copied().collect()
    }

    fn with_default(&self, roles: RoleSet) -> Result<RoleSet, Refusal> {
        if !roles.is_empty() {
            return Ok(roles);
        }
        let default: RoleSet = self.policy.default_roles.intersection(&self.policy.allowed_roles).copied().collect();
        if default.is_empty() { Err(Refusal::NoRole) } else { Ok(default) }
    }

    /// `fields`: the worker's attributes to send; none are sent where there are none.
    fn desired(
        &self,
        document: &Document,
        username: &Username,
        roles: RoleSet,
        fields: Document,
    ) -> Result<DesiredUser, Refusal> {
        let attributes = (!fields.is_empty()).then(|| WorkerAttributes::try_from(fields)).transpose();
        Ok(DesiredUser {
            username: username.clone(),
            email: person::email(document, username)?,
            full_name: person::full_name(document, username)?,
            roles,
            worker_attributes: attributes.map_err(|error| super::refusal::value(FLEX_USER, error))?,
        })
    }

    /// The worker's attributes that must be sent. A user made active again has a new worker, without any.
    fn fields(&self, before: Option<&Document>, after: &Document) -> Document {
        let of = |document: &Document| document.get(FLEX_USER).and_then(Value::as_object).cloned();
        let (had, has) = (before.and_then(of), of(after));
        if before.is_some() && had == has {
            return Document::new();
        }
        self.settings.worker_fields.for_flex(had.as_ref(), has.as_ref())
    }

    async fn set_locale(&self, user: &mut FlexUser, document: &Document, deadline: Deadline) -> Result<(), Refusal> {
        let asked = document.get("locale").and_then(Value::as_str);
        let now = user.locale.as_deref().filter(|locale| !locale.is_empty());
        let locale = match (asked, now) {
            (Some(asked), now) if now.is_none_or(|now| !now.eq_ignore_ascii_case(asked)) => asked,
            (None, Some(_)) => "",
            _ => return Ok(()),
        };
        let update = UserUpdate { locale: Some(locale), ..UserUpdate::default() };
        let updated = match self.provisioning.flex().update(&user.flex_user_sid, &update, deadline).await {
            // Nobody says whether a locale can be taken back. Where it cannot, it stays, and is shown.
            Err(TwilioError::Refused(_)) if locale.is_empty() => return Ok(()),
            updated => updated?,
        };
        user.locale = Some(locale.to_owned());
        user.updated_date = updated.updated_date.or(user.updated_date.take());
        Ok(())
    }

    /// `userName` is Twilio's key and never changes, but for its case, which does not count.
    async fn same_name(&self, person: &Person, after: &Document, deadline: Deadline) -> Result<(), Refusal> {
        let asked = person::username(after)?;
        if folded(asked.as_str()) == folded(person.user.username.as_str()) {
            return Ok(());
        }
        if self.anybody_named(&asked, deadline).await?.is_some_and(|other| !other.is_gone()) {
            return Err(Refusal::Uniqueness("Another user has this userName.".to_owned()));
        }
        Err(Refusal::Mutability(
            "userName cannot be changed: it is the key under which Twilio knows the user.".to_owned(),
        ))
    }

    /// Writes down what the client wrote. False if somebody else did meanwhile.
    async fn remember(
        &self,
        person: &mut Person,
        before: Option<&Document>,
        after: &Document,
        finishes: Option<&str>,
    ) -> Result<bool, Refusal> {
        let mut asserted = person::asserted(after);
        let old = person.entry.as_ref().and_then(|entry| entry.asserted.get("roles")).cloned();
        let roles = if before.is_some_and(|before| before.get("roles") == after.get("roles")) {
            old
        } else {
            after.get("roles").map(|asked| self.own_roles(person, asked))
        };
        asserted.remove("roles");
        asserted.extend(roles.map(|roles| ("roles".to_owned(), roles)));
        let entry = person.entry.take().unwrap_or_else(|| self.new_entry(&person.user));
        let mut entry = Entry {
            current: person.user.flex_user_sid.clone(),
            external_id: after.get("externalId").and_then(Value::as_str).map(str::to_owned),
            asserted,
            deleted: false,
            updated_at: self.ambient.now(),
            ..entry
        };
        let written = self.directory.put_entry(&entry, finishes).await?;
        entry.version += 1;
        person.entry = Some(entry);
        Ok(written)
    }

    /// The roles that are the client's own writing: those that only groups give are not.
    fn own_roles(&self, person: &Person, asked: &Value) -> Value {
        let given = self.given(&person.memberships);
        let before = person.asserted_roles().unwrap_or_default();
        let own = |item: &&Value| {
            let text = item.get("value").and_then(Value::as_str).unwrap_or_default();
            text.to_ascii_lowercase().parse().is_ok_and(|role: Role| !given.contains(&role) || before.contains(&role))
        };
        asked.as_array().into_iter().flatten().filter(own).cloned().collect()
    }

    fn new_entry(&self, user: &FlexUser) -> Entry {
        Entry {
            id: user.flex_user_sid.clone(),
            current: user.flex_user_sid.clone(),
            username: user.username.clone(),
            external_id: None,
            asserted: Document::new(),
            deleted: false,
            version: 0,
            updated_at: self.ambient.now(),
        }
    }

    async fn begin(&self, work: &str, deadline: Deadline) -> Result<bool, Refusal> {
        let now = self.ambient.now();
        let until = now + deadline.remaining() + std::time::Duration::from_secs(1);
        match self.directory.begin(work, now, until).await? {
            Begun::Yes { intended } => Ok(intended),
            Begun::Busy => Err(Refusal::Busy),
        }
    }

    /// The user of that `id`, unless it was deleted.
    async fn load(&self, id: &str, deadline: Deadline) -> Result<Person, Refusal> {
        let id: FlexUserSid = id.parse().map_err(|_| Refusal::Unknown)?;
        let entries = self.directory.entries(std::slice::from_ref(&id)).await?;
        let (own, other): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.id == id);
        let entry = own.into_iter().next();
        if entry.is_none() && !other.is_empty() {
            // The new SID of a user who goes by its first.
            return Err(Refusal::Unknown);
        }
        let current = entry.as_ref().map_or(&id, |entry| &entry.current).clone();
        let user = match self.provisioning.flex().get(&current, deadline).await {
            Err(TwilioError::NotFound(_)) => return Err(Refusal::Unknown),
            user => user?,
        };
        let memberships = self.directory.memberships(std::slice::from_ref(&id)).await?;
        let person = Person { user, entry, memberships };
        if person.is_gone() { Err(Refusal::Unknown) } else { Ok(person) }
    }

    fn known(&self, loaded: Result<Person, Refusal>) -> Result<Vec<Person>, Refusal> {
        match loaded {
            Ok(person) => Ok(vec![person]),
            Err(Refusal::Unknown) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The user of that name, in any case: one call to Twilio, by the spelling that is known.
    async fn named(&self, username: &Username, deadline: Deadline) -> Result<Option<Person>, Refusal> {
        let entry = self.directory.entry_named(username).await?;
        let spelt = entry.as_ref().map_or(username, |entry| &entry.username);
        let found = match (self.provisioning.flex().find_alike(spelt, deadline).await?, entry) {
            (Some(user), _) => Some(user),
            // Twilio's search may leave out users that are not active; SCIM's does not.
            (None, Some(entry)) if !entry.deleted => {
                return Ok(self.known(self.load(entry.id.as_str(), deadline).await)?.pop());
            }
            (None, _) => None,
        };
        Ok(self.visible(found.into_iter().collect()).await?.pop())
    }

    /// The user of that name in any case, also one that was deleted.
    async fn anybody_named(&self, username: &Username, deadline: Deadline) -> Result<Option<Person>, Refusal> {
        let entry = self.directory.entry_named(username).await?;
        let lower: Option<Username> = folded(username.as_str()).parse().ok();
        let spelt = entry.as_ref().map(|entry| entry.username.clone());
        let mut spellings: Vec<Username> = spelt.into_iter().chain([username.clone()]).chain(lower).collect();
        spellings.dedup();
        for spelling in spellings {
            if let Some(user) = self.provisioning.flex().find_alike(&spelling, deadline).await? {
                let sid = std::slice::from_ref(&user.flex_user_sid);
                let entry = self.directory.entries(sid).await?.into_iter().find(|entry| entry.current == sid[0]);
                let id = entry.as_ref().map_or(&user.flex_user_sid, |entry| &entry.id).clone();
                let memberships = self.directory.memberships(&[id]).await?;
                return Ok(Some(Person { user, entry, memberships }));
            }
        }
        let Some(entry) = entry else { return Ok(None) };
        match self.provisioning.flex().get(&entry.current, deadline).await {
            Err(TwilioError::NotFound(_)) => Ok(None),
            user => Ok(Some(Person { user: user?, entry: Some(entry), memberships: Vec::new() })),
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
    let version = opaque(&view::version(document));
    let matches = tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == version);
    if matches { Ok(()) } else { Err(Refusal::Stale) }
}

fn check_locale(document: &Document) -> Result<(), Refusal> {
    let Some(locale) = document.get("locale").and_then(Value::as_str) else { return Ok(()) };
    let plain = (2..=64).contains(&locale.len())
        && locale.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { Ok(()) } else { Err(super::refusal::value("locale", "must be a language tag, like en-US")) }
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

/// Whether Twilio must be told. Roles that Flexgate cannot give are not compared: they are not ours to take.
fn differs(user: &FlexUser, desired: &DesiredUser) -> bool {
    user.email.as_deref() != Some(desired.email.as_str())
        || user.full_name.as_deref() != Some(desired.full_name.as_str())
        || user.roles.as_ref().is_none_or(|roles| roles.known() != &desired.roles)
        || user.deactivated != Some(false)
        || desired.worker_attributes.is_some()
}

/// The user as provisioned, with what Twilio left out of its answer.
fn filled(user: FlexUser, desired: &DesiredUser) -> Result<FlexUser, Refusal> {
    if user.is_deactivated() {
        return Err(Refusal::StaysDeactivated);
    }
    Ok(FlexUser {
        email: Some(user.email.unwrap_or_else(|| desired.email.to_string())),
        full_name: Some(user.full_name.unwrap_or_else(|| desired.full_name.to_string())),
        roles: Some(user.roles.unwrap_or_else(|| desired.roles.iter().map(|role| role.as_str()).collect())),
        deactivated: Some(false),
        ..user
    })
}
