//! Converts a client's document about a person to a statement for the people ledger.
//!
//! Clients read a user, change something and write the whole user back. So a document also repeats roles from groups
//! and from other sources. The statement contains only what the client itself chose.

use std::collections::BTreeSet;

use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{RoleReason, Said, Source, Statement};
use flexgate::domain::{EventId, Role, RoleSet, WorkerAttributes};
use flexgate::users::ledger::{Earlier, News};
use serde_json::Value;

use super::person::{self, Person};
use super::protocol::{Document, Operation, apply, names};
use super::refusal::{self, Refusal};
use super::resources::FLEX_USER;
use super::saying::{Patched, Saying, Written};
use super::users::Users;

impl Users {
    /// Returns SCIM's statement after a write that changes the document `before` to `after`. Leaves out values that
    /// SCIM has already stated.
    pub(super) fn says(
        &self,
        person: &Person,
        before: &Document,
        after: &Document,
        written: Written<'_>,
    ) -> Result<Saying, Refusal> {
        person::check_locale(after)?;
        let username = &person.user.username;
        let known = person.statement();
        let (email, name) = (person::email(after, username)?, person::full_name(after, username)?);
        let attributes = self.attributes(after)?;
        let locale = after.get("locale").and_then(Value::as_str).map(Box::from);
        let (at, id) = (self.clock_rng.now(), self.cause());

        // A PUT states every attribute that it contains. A PATCH states only the attributes that it changes.
        let says = |names: &[&str]| {
            let changes = |name: &&str| after.get(*name) != before.get(*name);
            let holds = |name: &&str| matches!(written, Written::Whole(document) if document.contains_key(*name));
            names.iter().any(changes) || names.iter().any(holds)
        };
        let mut statement = Statement::default();
        if says(&["emails"]) {
            statement.email = news(known.and_then(|known| known.email.as_ref()), Said::new(at, &id, Some(email)));
        }
        if says(&["name", "displayName"]) {
            statement.full_name =
                news(known.and_then(|known| known.full_name.as_ref()), Said::new(at, &id, Some(name)));
        }
        if says(&["locale"]) {
            statement.locale = news(known.and_then(|known| known.locale.as_ref()), Said::new(at, &id, locale));
        }
        if says(&[FLEX_USER]) {
            let said = Said::new(at, &id, attributes);
            statement.attributes = news(known.and_then(|known| known.attributes.as_ref()), said);
        }
        statement.active = Self::says_active(person, after, written).map(|active| Said::access(at, &id, active));
        let (own_roles, earlier) = self.own_roles(person, before, after, written)?;
        if own_roles != person.own_roles() {
            statement.roles = Some(Said::new(at, &id, role_names(&own_roles)));
        }
        Ok(Saying { statement, earlier, own_roles })
    }

    /// Returns the value of `active` for the statement. Returns `None` if the document does not contain `active`, or if
    /// this value would change nothing.
    fn says_active(person: &Person, after: &Document, written: Written<'_>) -> Option<bool> {
        let active = after.get("active").and_then(Value::as_bool)?;
        let named = match written {
            Written::Whole(_) => active != person.view.active,
            Written::Changed(patched) => patched.active.is_some(),
        };
        // Even if SCIM has stated this value before, another source may have kept it from taking effect. In that case,
        // state the value again, so that the ledger refuses it with an error that names the other source.
        let known = person.statement().and_then(Statement::says_active);
        (named && (known != Some(active) || active != person.view.active)).then_some(active)
    }

    /// Returns two values. The first contains the roles that the client itself gives. The second says which data from
    /// before this write stays valid: everything, except roles that somebody gave by hand in Flex and that this write
    /// removes.
    fn own_roles(
        &self,
        person: &Person,
        before: &Document,
        after: &Document,
        written: Written<'_>,
    ) -> Result<(RoleSet, Earlier), Refusal> {
        let own = person.own_roles();
        // If a patch names a role, the client gives that role, even if the user already has it from another source.
        let named: RoleSet = match written {
            Written::Changed(patched) => patched.roles.intersection(&self.policy.allowed_roles).copied().collect(),
            Written::Whole(_) => RoleSet::new(),
        };
        if after.get("roles") == before.get("roles") && named.is_subset(&own) {
            return Ok((own, Earlier::Everything));
        }
        let mut asked = after.get("roles").map(person::roles).transpose()?.unwrap_or_default();
        let shown = person.shown_roles();
        if matches!(written, Written::Whole(_)) {
            // If the client read the user before Flexgate took a role back, the client's document still contains the
            // role. Ignore such a role, because the client did not choose it. Usually, the ledger's list `taken`
            // contains the role. If Flexgate has not removed the role in Flex yet, the list does not contain the role,
            // but the computed reason for the role is `TakenBack`.
            let taken = person.view.person.as_ref().map(|person| &person.given.taken);
            let is_taken = |role: &Role| {
                taken.is_some_and(|taken| taken.contains(role)) || person.reason(*role) == Some(&RoleReason::TakenBack)
            };
            asked.retain(|role| own.contains(role) || !is_taken(role));
        }
        let added: RoleSet = asked.difference(&shown).copied().collect();
        if let Some(role) = self.policy.forbidden_role(&added) {
            return Err(Refusal::RoleForbidden(role));
        }
        let chosen = own.iter().chain(&added).chain(&named);
        let mut after: RoleSet = chosen.filter(|role| asked.contains(role)).copied().collect();
        if asked.is_empty() {
            after = self.default_roles();
        } else if !after.is_empty() {
            // If SCIM gives a role, the person loses the default roles. So SCIM must also give those default roles that
            // the client's list still contains.
            after.extend(asked.iter().filter(|role| person.reason(**role) == Some(&RoleReason::Default)));
        }
        let by_hand = |role: &&Role| matches!(person.reason(**role), None | Some(RoleReason::MadeByHand));
        let taken: RoleSet = shown.difference(&asked).filter(by_hand).copied().collect();
        let earlier = if taken.is_empty() { Earlier::Everything } else { Earlier::AllBut(taken) };
        Ok((after, earlier))
    }

    /// Returns the values that a patch sets with its operations. `before` is the document before the patch.
    pub(super) fn patched(&self, before: &Document, operations: &[Operation], active: Option<bool>) -> Patched {
        let mut without_roles = before.clone();
        without_roles.remove("roles");
        let named = apply(&self.schema, &without_roles, operations).ok();
        let roles = named.and_then(|named| person::roles(named.get("roles")?).ok()).unwrap_or_default();
        let sets = |name: &str| names(&self.schema, operations, name, None);
        let fields = [("roles", "roles"), ("full_name", "name"), ("full_name", "displayName")];
        let fields = fields.into_iter().filter_map(|(field, name)| sets(name).then_some(field)).collect();
        Patched { active, roles, fields }
    }

    /// Returns the default roles. If the client gives no role, SCIM gives these roles. If SCIM gave no role at all, a
    /// role from a group would replace the default roles.
    fn default_roles(&self) -> RoleSet {
        self.policy.default_roles.intersection(&self.policy.allowed_roles).copied().collect()
    }

    /// Converts a new user's document to a statement for the people ledger.
    pub(super) fn says_in_full(&self, document: &Document, person: &News) -> Result<Saying, Refusal> {
        let Some(username) = &person.username else { return Err(Refusal::Unknown) };
        person::check_locale(document)?;
        let (at, id) = (self.clock_rng.now(), self.cause());
        let asked = document.get("roles").map(person::roles).transpose()?.unwrap_or_default();
        let own_roles = if asked.is_empty() { self.default_roles() } else { asked };
        if let Some(role) = self.policy.forbidden_role(&own_roles) {
            return Err(Refusal::RoleForbidden(role));
        }
        let locale = document.get("locale").and_then(Value::as_str).map(Box::from);
        let statement = Statement {
            active: Some(Said::access(at, &id, true)),
            roles: Some(Said::new(at, &id, role_names(&own_roles))),
            email: Some(Said::new(at, &id, Some(person::email(document, username)?))),
            full_name: Some(Said::new(at, &id, Some(person::full_name(document, username)?))),
            locale: locale.map(|locale| Said::new(at, &id, Some(locale))),
            attributes: self.attributes(document)?.map(|attributes| Said::new(at, &id, Some(attributes))),
            ..Statement::in_full(at, &id)
        };
        Ok(Saying { statement, earlier: person.earlier.clone(), own_roles })
    }

    /// States in the ledger that the person is inactive. If `withdraws` is true, also withdraws everything that SCIM
    /// has stated before.
    pub(super) async fn deactivate(
        &self,
        person: &mut Person,
        withdraws: bool,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let (at, id) = (self.clock_rng.now(), self.cause());
        let whole = if withdraws { Statement::in_full(at, &id) } else { Statement::default() };
        let statement = Statement { active: Some(Said::access(at, &id, false)), ..whole };
        self.state(person, statement, Earlier::Everything, deadline).await
    }

    /// Sends the statement to the ledger. Then updates `person` from the ledger.
    pub(super) async fn state(
        &self,
        person: &mut Person,
        statement: Statement,
        earlier: Earlier,
        deadline: Deadline,
    ) -> Result<(), Refusal> {
        let news = News {
            source: Source::Scim,
            subject: None,
            identity: None,
            username: Some(person.user.username.clone()),
            flex_user_sid: Some(person.user.flex_user_sid.clone()),
            statement,
            earlier,
        };
        let report = self.ledger.state(&news, deadline).await?;
        person.user = report.user.ok_or(Refusal::Unknown)?;
        self.look(person).await
    }

    fn attributes(&self, document: &Document) -> Result<Option<WorkerAttributes>, Refusal> {
        let written = document.get(FLEX_USER).and_then(Value::as_object);
        let typed = self.settings.worker_fields.for_flex(written);
        let attributes = (!typed.is_empty()).then(|| WorkerAttributes::try_from(typed)).transpose();
        attributes.map_err(|error| refusal::value(FLEX_USER, error))
    }

    pub(super) fn cause(&self) -> EventId {
        EventId::from(u128::from_be_bytes(self.clock_rng.random()))
    }
}

/// Returns the new value, or `None` if the earlier statement has the same value.
fn news<T: PartialEq>(known: Option<&Said<T>>, said: Said<T>) -> Option<Said<T>> {
    known.is_none_or(|known| known.value != said.value).then_some(said)
}

fn role_names(roles: &RoleSet) -> BTreeSet<Box<str>> {
    roles.iter().map(|role| role.as_str().into()).collect()
}
