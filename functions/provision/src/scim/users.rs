//! Searches, creates, changes and deletes users.

use std::sync::Arc;

use flexgate::authn::Issuer;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{Source, Statement};
use flexgate::domain::policy::Policy;
use flexgate::domain::{FlexUser, FlexUserSid, RoleSet, Username};
use flexgate::platform::Platform;
use flexgate::store::scim::{Begun, Entry, Work, folded};
use flexgate::store::{EventQueue, ScimStore};
use flexgate::users::ledger::{AFTERMATH, Earlier, Ledger, News, View};
use flexgate::users::{GroupRoles, PolicySettings, Provisioning};
use serde_json::Value;

use super::person::{self, LEFT_AS, Person};
use super::protocol::{
    Document, Page, Paging, Plan, ProtocolError, Schema, Test, apply, complete, names, operations,
    resource_says_active, says_active, version,
};
use super::refusal::Refusal;
use super::resources::user_schema;
use super::saying::{Written, check_blocked, told};
use super::settings::ScimSettings;

/// How many times Flexgate tries a write that collides with other writes.
const TRIES: usize = 3;

/// How a user is changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    Replace,
    Patch,
}

/// Users in Flex and the SCIM store.
#[derive(Debug)]
pub struct Users {
    pub(super) schema: Schema,
    pub(super) base: String,
    pub(super) provisioning: Arc<Provisioning>,
    pub(super) ledger: Ledger,
    pub(super) scim: Arc<dyn ScimStore>,
    pub(super) queue: Arc<dyn EventQueue>,
    pub(super) settings: ScimSettings,
    pub(super) group_roles: GroupRoles,
    pub(super) issuers: Vec<Issuer>,
    pub(super) policy: Policy,
    pub(super) clock_rng: ClockRng,
}

impl Users {
    /// Creates the service for users. Sends no request to Twilio or the store. `base` is the beginning of the users'
    /// URLs.
    #[must_use]
    pub fn new(
        base: String,
        provisioning: Arc<Provisioning>,
        ledger: Ledger,
        platform: &Platform,
        settings: ScimSettings,
        policy: &PolicySettings,
        issuers: Vec<Issuer>,
    ) -> Self {
        let (scim, queue, clock_rng) = (platform.scim(), platform.queue(), platform.clock_rng.clone());
        let schema = user_schema(&settings.worker_fields, &policy.policy.allowed_roles);
        let (policy, group_roles) = (policy.policy.clone(), policy.group_roles.clone());
        Self { schema, base, provisioning, ledger, scim, queue, settings, group_roles, issuers, policy, clock_rng }
    }

    /// The schema of users.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn show(&self, person: &Person) -> Document {
        complete(&self.schema, person.document(&self.base), &self.base)
    }

    /// Returns the user with this `id`.
    pub async fn get(&self, id: &str, deadline: Deadline) -> Result<Document, Refusal> {
        Ok(self.show(&self.load(id, deadline).await?))
    }

    /// Returns the users that match the filter. Without a filter, returns one page of all users.
    pub async fn search(&self, test: Option<&Test>, paging: &Paging, deadline: Deadline) -> Result<Page, Refusal> {
        let found = match test.map(Test::plan) {
            Some(Plan::UserName(name)) => match name.parse() {
                Ok(username) => self.named(&username, deadline).await?.into_iter().collect(),
                Err(_) => Vec::new(),
            },
            Some(Plan::Id(id)) => Self::known(self.load(&id, deadline).await)?,
            Some(Plan::ExternalId(external_id)) => {
                let mut found = Vec::new();
                for entry in self.scim.entries_of_external_id(&external_id).await? {
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
        let name = format!("user:{}", folded(username.as_str()));
        let work = Work { name, holder: u128::from_be_bytes(self.clock_rng.random()) };
        let intended = self.begin(&work, deadline).await?;
        let created = self.create_once(document, &username, &work, intended, deadline).await;
        match &created {
            Ok(_) => self.scim.forget_marks().await?,
            // This attempt changed nothing at Twilio, so remove its record. The next attempt has nothing to complete.
            Err(error) if !unfinished(error) => self.scim.finish(&work).await?,
            Err(_) => self.scim.abandon(&work).await?,
        }
        created
    }

    async fn create_once(
        &self,
        document: &Document,
        username: &Username,
        work: &Work,
        intended: bool,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        let existing = match self.anybody_named(username, deadline).await? {
            Some(person) if person.is_gone() || intended => Some(person),
            Some(_) => return Err(Refusal::Uniqueness("Another user has this userName.".to_owned())),
            None => None,
        };
        if let Some(entry) =
            existing.as_ref().filter(|person| person.is_gone()).and_then(|person| person.entry.as_ref())
        {
            // Perhaps a request that changes a group added the user while the user was being deleted. End such
            // memberships.
            self.scim.leave_all(&entry.id).await?;
        }
        let earlier = match &existing {
            // The user exists and is not deleted. The code above accepts such a request only if an earlier attempt
            // began to create the user and did not finish.
            Some(person) if !person.is_gone() => Earlier::Everything,
            existing => existing.as_ref().map_or(Earlier::Everything, |person| person.earlier(document)),
        };
        let mut news = News {
            source: Source::Scim,
            subject: None,
            identity: None,
            // If the user already exists under another spelling of the username, use that spelling, because Twilio
            // never changes it.
            username: Some(existing.as_ref().map_or(username, |person| &person.user.username).clone()),
            flex_user_sid: existing.as_ref().map(|person| person.user.flex_user_sid.clone()),
            statement: Statement::default(),
            earlier,
        };
        let saying = self.says_in_full(document, &news)?;
        news.statement = saying.statement;
        self.bind_before(document, existing.as_ref().map(|person| &person.user)).await?;
        if !self.scim.intend(work).await? {
            return Err(Refusal::LOST_RACE);
        }

        let user = self.ledger.state(&news, deadline).await?.user.ok_or(Refusal::Unknown)?;
        self.bind_after(document, &user).await?;
        let (entry, memberships) = existing.map(|old| (old.entry, old.memberships)).unwrap_or_default();
        let mut person = Person { view: View::of_flex(&user), user, entry, memberships };
        self.look(&mut person).await?;
        if document.get("active") == Some(&Value::Bool(false)) {
            self.deactivate(&mut person, false, deadline).await?;
        }
        if self.remember(&mut person, document, &saying.own_roles, Some(work)).await? {
            Ok(self.show(&person))
        } else {
            Err(Refusal::LOST_RACE)
        }
    }

    /// Replaces the user's writable attributes. `roles`, `active`, `locale`, the name and the e-mail address keep their
    /// values if the client omits them. Any other omitted attribute is removed.
    pub async fn replace(
        &self,
        id: &str,
        if_match: Option<&str>,
        body: &Document,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        self.change(id, if_match, body, Change::Replace, deadline).await
    }

    /// Applies the operations of a patch.
    pub async fn patch(
        &self,
        id: &str,
        if_match: Option<&str>,
        body: &Document,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        self.change(id, if_match, body, Change::Patch, deadline).await
    }

    /// Changes the user. A deactivation happens first, so that an error in the rest of the request cannot prevent the
    /// deactivation.
    async fn change(
        &self,
        id: &str,
        if_match: Option<&str>,
        body: &Document,
        change: Change,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        let active = match change {
            Change::Replace => resource_says_active(&self.schema, body),
            Change::Patch => says_active(&self.schema, body),
        };
        let mut person = self.load(id, deadline).await?;
        check_if_match(if_match, &person.document(&self.base))?;
        let deactivates = active == Some(false);
        if deactivates && (person.view.active || !person.view.in_step || !person.says_inactive()) {
            self.deactivate(&mut person, false, deadline).await?;
        }
        let done = self.change_rest(person, id, body, change, active, deadline).await;
        done.map_err(|error| if deactivates { Refusal::Partly(Box::new(error)) } else { error })
    }

    async fn change_rest(
        &self,
        mut person: Person,
        id: &str,
        body: &Document,
        change: Change,
        active: Option<bool>,
        deadline: Deadline,
    ) -> Result<Document, Refusal> {
        for tried in 0..TRIES {
            if tried > 0 {
                person = self.load(id, deadline).await?;
            }
            let before = person.document(&self.base);
            let (after, document, patched);
            let written = match change {
                Change::Replace => {
                    document = self.schema.read(body)?;
                    person::username(&document)?;
                    after = person::replaced(&before, &document);
                    Written::Whole(&document)
                }
                Change::Patch => {
                    let operations = operations(body)?;
                    let mut result = apply(&self.schema, &before, &operations)?;
                    let names = |name, sub| names(&self.schema, &operations, name, sub);
                    if !names("displayName", None) {
                        person::follow_name(&before, &mut result, names("name", Some("formatted")));
                    }
                    after = result;
                    patched = self.patched(&before, &operations, active);
                    Written::Changed(&patched)
                }
            };
            self.same_name(&person, &after, deadline).await?;
            let saying = self.says(&person, &before, &after, written)?;
            self.bind_before(&after, Some(&person.user)).await?;
            let mut fields = told(&saying.statement);
            fields.extend(written.fields());
            let is_news = saying.statement != Statement::default() || saying.earlier != Earlier::Everything;
            if is_news {
                self.state(&mut person, saying.statement, saying.earlier, deadline).await?;
            } else {
                self.mend(&mut person, deadline).await?;
            }
            check_blocked(&person, &fields)?;
            if !is_news && after == before {
                return Ok(self.show(&person));
            }
            self.bind_after(&after, &person.user).await?;
            if self.remember(&mut person, &after, &saying.own_roles, None).await? {
                return Ok(self.show(&person));
            }
        }
        Err(Refusal::LOST_RACE)
    }

    /// Updates Flex if it differs from the ledger, for example after an interrupted request.
    async fn mend(&self, person: &mut Person, deadline: Deadline) -> Result<(), Refusal> {
        let known = person.view.person.as_ref().map(|known| known.id).filter(|_| !person.view.in_step);
        let Some(known) = known else { return Ok(()) };
        if let Some(user) = self.ledger.reconcile(known, deadline).await?.and_then(|report| report.user) {
            person.user = user;
            self.look(person).await?;
        }
        Ok(())
    }

    /// Deprovisions the user, and records the deletion.
    pub async fn delete(&self, id: &str, if_match: Option<&str>, deadline: Deadline) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let mut person = self.load(id, deadline).await?;
            check_if_match(if_match, &person.document(&self.base))?;
            self.deactivate(&mut person, true, deadline).await?;
            let sid: FlexUserSid = id.parse().map_err(|_| Refusal::Unknown)?;
            self.scim.leave_all(&sid).await?;
            let entry = person.entry.take().unwrap_or_else(|| self.new_entry(&person.user));
            let mut entry = Entry { deleted: true, updated_at: self.clock_rng.now(), ..entry };
            // Free the client's key (`externalId`) for another user. Keep a copy: if a user with the same username is
            // created later, the copy shows whether that user is the same person.
            if let Some(external_id) = entry.external_id.take() {
                entry.asserted.insert(LEFT_AS.to_owned(), external_id.into());
            }
            if self.scim.put_entry(&entry, None).await? {
                // Perhaps a request that changes a group read the user before the deletion, and has added the user to
                // the group since then. End such memberships, too.
                self.scim.leave_all(&sid).await?;
                self.scim.forget_marks().await?;
                return Ok(());
            }
        }
        Err(Refusal::LOST_RACE)
    }

    /// Refuses a new `userName`, because Twilio's username never changes. A change of case is ignored.
    async fn same_name(&self, person: &Person, after: &Document, deadline: Deadline) -> Result<(), Refusal> {
        let asked = person::username(after)?;
        if folded(asked.as_str()) == folded(person.user.username.as_str()) {
            return Ok(());
        }
        if self.anybody_named(&asked, deadline).await?.is_some_and(|other| !other.is_gone()) {
            return Err(Refusal::Uniqueness("Another user has this userName.".to_owned()));
        }
        let fixed = "userName cannot be changed, because it is Twilio's key for the user. In Okta, set \"Update application \
                     username on\" to \"Create only\". In Entra, apply the mapping of userName \"Only during object \
                     creation\". To rename somebody, see docs/scim.md.";
        Err(ProtocolError::Mutability(fixed.to_owned()).into())
    }

    /// Stores the attributes as the client wrote them. Returns false if another write came first.
    async fn remember(
        &self,
        person: &mut Person,
        after: &Document,
        own_roles: &RoleSet,
        finishes: Option<&Work>,
    ) -> Result<bool, Refusal> {
        let mut asserted = person::asserted(after);
        if let Some(Value::Array(items)) = asserted.get_mut("roles") {
            items.retain(|item| person::role(item).is_ok_and(|role| own_roles.contains(&role)));
        }
        let entry = person.entry.take().unwrap_or_else(|| self.new_entry(&person.user));
        let mut entry = Entry {
            current: person.user.flex_user_sid.clone(),
            external_id: after.get("externalId").and_then(Value::as_str).map(str::to_owned),
            asserted,
            deleted: false,
            updated_at: self.clock_rng.now(),
            ..entry
        };
        let written = self.scim.put_entry(&entry, finishes).await?;
        entry.version += 1;
        person.entry = Some(entry);
        Ok(written)
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
            updated_at: self.clock_rng.now(),
        }
    }

    /// Whether a user with this `id` exists.
    pub(super) async fn exists(&self, id: &str, deadline: Deadline) -> Result<bool, Refusal> {
        Ok(!Self::known(self.load(id, deadline).await)?.is_empty())
    }

    async fn begin(&self, work: &Work, deadline: Deadline) -> Result<bool, Refusal> {
        let now = self.clock_rng.now();
        // The reservation lets only one request at a time create this user. If this process crashes, the reservation
        // expires at the same time as the ledger's lease on the person. The client can then repeat its request, after
        // waiting for `Retry-After`.
        let until = now + deadline.remaining() + AFTERMATH;
        match self.scim.begin(work, now, until).await? {
            Begun::Yes { intended } => Ok(intended),
            Begun::Held(until) => Err(Refusal::Busy((until - now).try_into().unwrap_or_default())),
        }
    }
}

/// Whether a failed attempt may have changed something at Twilio. If so, the next attempt must complete the change.
fn unfinished(error: &Refusal) -> bool {
    matches!(error, Refusal::Twilio(_) | Refusal::Store(_) | Refusal::Busy(_) | Refusal::StaysDeactivated)
}

/// Checks that `If-Match` (RFC 7644 §3.14), if present, is `*` or a list that contains the current version.
pub(super) fn check_if_match(if_match: Option<&str>, document: &Document) -> Result<(), Refusal> {
    let Some(tags) = if_match else { return Ok(()) };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let version = opaque(&version(document));
    let matches = tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == version);
    if matches { Ok(()) } else { Err(Refusal::Stale) }
}
