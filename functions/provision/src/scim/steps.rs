//! The steps of a write: what Twilio is told, what is remembered, and what the policy lets through.
//!
//! Each step compares before it acts, so that taking it twice is taking it once.

use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::Source;
use flexgate::domain::{DesiredUser, EventId, FlexUser, FlexUserSid, Role, RoleSet, Username, WorkerAttributes};
use flexgate::store::directory::{Entry, Membership, folded};
use flexgate::twilio::{TwilioError, UserUpdate};
use flexgate::users::ledger::Note;
use flexgate::users::{LastAdmin, ProvisioningError};
use serde_json::Value;

use super::person::{self, Person};
use super::protocol::{Document, ProtocolError};
use super::refusal::{self, Refusal};
use super::resources::FLEX_USER;
use super::settings::given_by;
use super::users::Users;

/// The work of which there is one at a time: taking an administrator away.
const ADMINS: &str = "admins";

impl Users {
    /// Brings Twilio from what was to what is asked for. Taken twice, it is as taken once.
    pub(super) async fn carry_out(
        &self,
        person: &mut Person,
        before: &Document,
        after: &Document,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let was_active = person.is_active();
        let brings_back = !person.shows_active();
        let active = after.get("active").and_then(Value::as_bool).unwrap_or(was_active);
        let roles = self.roles_after(person, before, after, active)?;
        let stated = self.roles_of_scim(person, before, after)?;
        let fields = self.fields(was_active.then_some(before), after);
        let desired = Self::desired(after, &person.user.username, roles, fields)?;
        person::check_locale(after)?;
        if !active {
            if was_active {
                // Whom another source holds inactive is brought in step with that; SCIM itself has said nothing.
                let says_so = person.shows_active();
                self.deactivate(person, says_so, deadline).await?;
            }
            let user = &person.user;
            self.note(&user.username, Some(&user.flex_user_sid), None, Some(stated)).await?;
            // The locale alone is changed without making the user active.
            return self.set_locale(&mut person.user, after, deadline).await;
        }
        let (username, user) = (&person.user.username, &person.user.flex_user_sid);
        let note = self.note(username, Some(user), brings_back.then_some(true), Some(stated));
        if differs(&person.user, &desired) {
            let provisioned = self
                .sparing_last_admin(person, &desired.roles, deadline, async {
                    note.await?;
                    Ok(self.provisioning.flex().provision(&desired, deadline).await?)
                })
                .await?;
            person.user = person::filled(provisioned, &desired)?;
        } else {
            note.await?;
        }
        person.held_inactive = false;
        self.set_locale(&mut person.user, after, deadline).await
    }

    pub(super) fn roles_after(
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

    /// `says_so`: it is SCIM that says that the person is inactive.
    pub(super) async fn deactivate(
        &self,
        person: &mut Person,
        says_so: bool,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let user = person.user.flex_user_sid.clone();
        self.sparing_last_admin(person, &RoleSet::new(), deadline, async {
            self.note(&person.user.username, Some(&user), says_so.then_some(false), None).await?;
            match self.provisioning.deprovision(&user, deadline).await {
                Err(ProvisioningError::Twilio(TwilioError::NotFound(_))) => Err(Refusal::Unknown),
                other => Ok(other?),
            }
        })
        .await?;
        person.user.deactivated = Some(true);
        person.user.worker_sid = None;
        Ok(())
    }

    /// Says in the people ledger whether the person is active, so that nobody else brings them back, and which roles
    /// SCIM gives, so that nobody else takes those away.
    pub(super) async fn note(
        &self,
        username: &Username,
        user: Option<&FlexUserSid>,
        active: Option<bool>,
        roles: Option<RoleSet>,
    ) -> Result<(), Refusal> {
        let cause = &EventId::from(u128::from_be_bytes(self.ambient.random()));
        let note = Note { source: Source::Scim, username, user, active, roles, cause };
        self.ledger.note(note).await.map_err(Refusal::of_ledger)
    }

    /// The roles that SCIM gives: those that the client wrote and those of the groups.
    fn roles_of_scim(&self, person: &Person, before: &Document, after: &Document) -> Result<RoleSet, Refusal> {
        let own = if after.get("roles") == before.get("roles") {
            person.asserted_roles()
        } else {
            after.get("roles").map(person::roles).transpose()?
        };
        Ok(own.unwrap_or_default().union(&self.given(&person.memberships)).copied().collect())
    }

    /// Does `work`, after which the user has `roles`, unless that takes the last administrator away. Two
    /// who take away the last two must not both find the other one still there: one at a time.
    pub(super) async fn sparing_last_admin<T>(
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
        self.begin(ADMINS, deadline).await?;
        let done = match self.another_admin(&person.user, deadline).await {
            Ok(true) => work.await,
            Ok(false) => Err(Refusal::LastAdmin),
            Err(error) => Err(error),
        };
        self.directory.finish(ADMINS).await?;
        done
    }

    pub(super) async fn another_admin(&self, than: &FlexUser, deadline: Deadline) -> Result<bool, Refusal> {
        let mut token = None;
        loop {
            let page = self.provisioning.flex().list(1_000, token.as_deref(), deadline).await?;
            let another = page.users.iter().any(|user| {
                let admin = user.roles.as_ref().is_some_and(|roles| roles.known().contains(&Role::Admin));
                admin && user.is_active() && user.flex_user_sid != than.flex_user_sid
            });
            match page.next_page_token {
                _ if another => return Ok(true),
                Some(next) => token = Some(next),
                None => return Ok(false),
            }
        }
    }

    /// The roles that memberships give, as far as the policy lets them.
    pub(super) fn given(&self, memberships: &[Membership]) -> RoleSet {
        let names = memberships.iter().filter(|membership| membership.present).map(|m| m.display_name.as_str());
        let given = given_by(&self.settings.group_roles, names);
        given.intersection(&self.policy.allowed_roles).copied().collect()
    }

    pub(super) fn with_default(&self, roles: RoleSet) -> Result<RoleSet, Refusal> {
        if !roles.is_empty() {
            return Ok(roles);
        }
        let default: RoleSet = self.policy.default_roles.intersection(&self.policy.allowed_roles).copied().collect();
        if default.is_empty() { Err(Refusal::NoRole) } else { Ok(default) }
    }

    /// `fields`: the worker's attributes to send; none are sent where there are none.
    pub(super) fn desired(
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
            worker_attributes: attributes.map_err(|error| refusal::value(FLEX_USER, error))?,
        })
    }

    /// The worker's attributes that must be sent. A user made active again has a new worker, without any.
    pub(super) fn fields(&self, before: Option<&Document>, after: &Document) -> Document {
        let of = |document: &Document| document.get(FLEX_USER).and_then(Value::as_object).cloned();
        let (had, has) = (before.and_then(of), of(after));
        if before.is_some() && had == has {
            return Document::new();
        }
        self.settings.worker_fields.for_flex(had.as_ref(), has.as_ref())
    }

    pub(super) async fn set_locale(
        &self,
        user: &mut FlexUser,
        document: &Document,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
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
    pub(super) async fn same_name(&self, person: &Person, after: &Document, deadline: Deadline) -> Result<(), Refusal> {
        let asked = person::username(after)?;
        if folded(asked.as_str()) == folded(person.user.username.as_str()) {
            return Ok(());
        }
        if self.anybody_named(&asked, deadline).await?.is_some_and(|other| !other.is_gone()) {
            return Err(Refusal::Uniqueness("Another user has this userName.".to_owned()));
        }
        let fixed = "userName cannot be changed: it is the key under which Twilio knows the user.";
        Err(ProtocolError::Mutability(fixed.to_owned()).into())
    }

    /// Writes down what the client wrote. False if somebody else did meanwhile.
    pub(super) async fn remember(
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
    pub(super) fn own_roles(&self, person: &Person, asked: &Value) -> Value {
        let given = self.given(&person.memberships);
        let before = person.asserted_roles().unwrap_or_default();
        let own = |item: &&Value| {
            let text = item.get("value").and_then(Value::as_str).unwrap_or_default();
            text.to_ascii_lowercase().parse().is_ok_and(|role: Role| !given.contains(&role) || before.contains(&role))
        };
        asked.as_array().into_iter().flatten().filter(own).cloned().collect()
    }

    pub(super) fn new_entry(&self, user: &FlexUser) -> Entry {
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
}

/// Whether Twilio must be told. Roles that Flexgate cannot give are not compared: they are not ours to take.
fn differs(user: &FlexUser, desired: &DesiredUser) -> bool {
    user.email.as_deref() != Some(desired.email.as_str())
        || user.full_name.as_deref() != Some(desired.full_name.as_str())
        || user.roles.as_ref().is_none_or(|roles| roles.known() != &desired.roles)
        || user.deactivated != Some(false)
        || desired.worker_attributes.is_some()
}
