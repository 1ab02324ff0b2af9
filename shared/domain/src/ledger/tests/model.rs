//! A model for tests: one person, sources that make statements about this person, and a simulated Flex.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use crate::event::EventId;
use crate::ledger::{Attachment, Desired, Occasion, Person, PersonId, Said, Source, Statement, Step, attach, desired};
use crate::policy::{JustInTime, Policy};
use crate::role::{ObservedRoles, Role};
use crate::ttl::TokenTtl;
use crate::user::FlexUser;

pub(super) const START: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

pub(super) fn policy() -> Policy {
    Policy {
        allowed_roles: [Role::Agent, Role::Supervisor].into(),
        default_roles: [Role::Agent].into(),
        just_in_time: JustInTime::Off,
        max_ttl: TokenTtl::DEFAULT,
    }
}

pub(super) fn webhook(name: &str) -> Source {
    Source::Webhook(name.parse().unwrap())
}

pub(super) fn names(names: &[&str]) -> BTreeSet<Box<str>> {
    names.iter().map(|&name| name.into()).collect()
}

pub(super) fn flex_user(roles: &[&str]) -> FlexUser {
    FlexUser {
        flex_user_sid: format!("FU{}", "0".repeat(32)).parse().unwrap(),
        username: "ada@example.com".parse().unwrap(),
        email: Some("ada@example.com".to_owned()),
        full_name: Some("Ada Lovelace".to_owned()),
        roles: Some(roles.iter().collect::<ObservedRoles>()),
        locale: None,
        deactivated: Some(false),
        worker_sid: None,
        created_date: None,
        updated_date: None,
        version: None,
    }
}

/// One person and their Flex user. Each statement is one minute later than the previous one.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) person: Person,
    pub(super) flex: Option<FlexUser>,
    pub(super) minute: i64,
}

impl Model {
    pub(super) fn new(flex: Option<FlexUser>) -> Self {
        Self { person: Person::new(PersonId::of([7; 16]), "ada@example.com".parse().unwrap()), flex, minute: 0 }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        START + Duration::minutes(self.minute)
    }

    pub(super) fn id(&self) -> EventId {
        EventId::from(u128::from(self.minute.unsigned_abs()))
    }

    /// Merges a statement from `source` into the ledger. `build` gets the current time and an event id, and returns the
    /// statement.
    pub(super) fn say(&mut self, source: &Source, build: impl FnOnce(OffsetDateTime, &EventId) -> Statement) {
        self.minute += 1;
        let statement = build(self.now(), &self.id());
        self.person.statements.entry(source.clone()).or_default().merge(statement);
        self.reconcile();
    }

    pub(super) fn says_roles(&mut self, source: &Source, roles: &[&str]) {
        self.say(source, |at, id| Statement { roles: Some(Said::new(at, id, names(roles))), ..Statement::default() });
    }

    pub(super) fn says_active(&mut self, source: &Source, active: bool) {
        self.say(source, |at, id| Statement { active: Some(Said::access(at, id, active)), ..Statement::default() });
    }

    pub(super) fn says_member(&mut self, source: &Source, group: &str, member: bool) {
        self.say(source, |at, id| Statement {
            memberships: [(group.into(), Said::access(at, id, member))].into(),
            ..Statement::default()
        });
    }

    pub(super) fn withdraw(&mut self, source: &Source) {
        self.say(source, Statement::in_full);
    }

    /// Adds a statement from `source`. The statement says that the person with the id `subject` is active and has
    /// `roles`. Returns false if the ledger refuses the statement.
    pub(super) fn names(&mut self, source: &Source, subject: &str, roles: &[&str]) -> bool {
        let subject = subject.parse().unwrap();
        match attach(&self.person, source, Some(&subject), true) {
            Err(_) => return false,
            Ok(Attachment::Same) => {}
            Ok(Attachment::NewPerson) => self.person = self.person.successor(PersonId::of([9; 16]), self.now()),
        }
        self.person.subjects.insert(source.clone(), subject);
        self.say(source, |at, id| Statement {
            active: Some(Said::access(at, id, true)),
            roles: Some(Said::new(at, id, names(roles))),
            ..Statement::default()
        });
        true
    }

    pub(super) fn desired(&self) -> Option<Desired> {
        desired(&self.person, &policy(), self.flex.as_ref(), &Occasion::at(self.now()))
    }

    /// Computes the desired state and executes the plan in the simulated Flex.
    pub(super) fn reconcile(&mut self) {
        let Some(desired) = self.desired() else { return };
        let plan = desired.plan(&self.person.username, self.flex.as_ref()).unwrap();
        self.person.given = desired.given.clone();
        match plan.step {
            Step::Nothing => {}
            Step::UpdateEmail(email) => {
                if let Some(user) = &mut self.flex {
                    user.email = Some(email.to_string());
                }
            }
            Step::Deprovision => {
                if let Some(user) = &mut self.flex {
                    user.deactivated = Some(true);
                }
            }
            Step::Provision(user) => {
                let roles: Vec<_> = user.roles.iter().map(|role| role.as_str()).collect();
                let mut provisioned = flex_user(&roles);
                provisioned.email = Some(user.email.to_string());
                provisioned.full_name = Some(user.full_name.to_string());
                self.flex = Some(provisioned);
                self.person.given.taking_over = false;
            }
        }
    }

    pub(super) fn roles(&self) -> Vec<&str> {
        self.flex.as_ref().and_then(|user| user.roles.as_ref()).map(ObservedRoles::names).unwrap_or_default()
    }

    pub(super) fn is_active(&self) -> bool {
        self.flex.as_ref().is_some_and(FlexUser::is_active)
    }
}
