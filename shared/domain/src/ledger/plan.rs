//! Plans the requests to Twilio that bring a Flex user to the desired state.

use super::desired::{Active, Desired};
use crate::name::{Email, Username};
use crate::role::ObservedRoles;
use crate::user::{DesiredUser, FlexUser, WorkerAttributes};

/// The requests that Flexgate must send to Twilio. Sending them twice has the same effect as sending them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The change to the user.
    pub step: Step,
    /// The locale to set with a separate request, after the request in [`Plan::step`]. `Some("")` removes the locale.
    pub locale: Option<Box<str>>,
    /// The names of fields that differ from the desired state but stay unchanged. Changing them would need a
    /// provisioning request, which would also remove a role that Flexgate cannot give.
    pub blocked: Vec<&'static str>,
}

/// The change to the user itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// No change.
    Nothing,
    /// Create, change or reactivate the user.
    Provision(DesiredUser),
    /// Change only the e-mail address. The roles stay unchanged.
    UpdateEmail(Email),
    /// Deactivate the user.
    Deprovision,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// No source provides this field, which Flex requires.
    #[error("no source says the person's {0}, which Flex needs")]
    Incomplete(&'static str),
    /// The person would have no role.
    #[error("no role is left that Flexgate may give, and Flex needs one")]
    NoRole,
}

impl Desired {
    /// Plans the requests that bring the Flex user with this username to the desired state. `observed` is `None` if
    /// there is no such user. Otherwise the observed user must have all fields ([`FlexUser::is_complete`]).
    pub fn plan(&self, username: &Username, observed: Option<&FlexUser>) -> Result<Plan, PlanRefused> {
        let mut plan = Plan { step: Step::Nothing, locale: self.locale_change(observed), blocked: Vec::new() };
        let wanted = match (self.active, observed) {
            (Active::No | Active::AsInFlex, None) => return Ok(Plan { locale: None, ..plan }),
            (Active::No, Some(user)) => {
                if !user.is_deactivated() {
                    plan.step = Step::Deprovision;
                }
                return Ok(plan);
            }
            (Active::AsInFlex, Some(user)) => !user.is_deactivated(),
            (Active::Yes, _) => true,
        };
        if !wanted {
            return Ok(plan);
        }
        let reactivates = observed.is_none_or(FlexUser::is_deactivated);
        let desired = DesiredUser {
            username: observed.map_or(username, |user| &user.username).clone(),
            email: self.email.clone().ok_or(PlanRefused::Incomplete("e-mail address"))?,
            full_name: self.full_name.clone().ok_or(PlanRefused::Incomplete("full name"))?,
            roles: self.roles.clone(),
            worker_attributes: self.attributes_change(reactivates),
        };
        let difference = match observed {
            None => None,
            Some(user) => match difference(user, &desired) {
                difference if difference.is_empty() => return Ok(plan),
                difference => Some(difference),
            },
        };
        if let Some(difference) = difference.filter(|_| !self.unspellable.is_empty() && !reactivates) {
            plan.blocked = difference.iter().copied().filter(|field| *field != "email").collect();
            if difference.contains(&"email") {
                plan.step = Step::UpdateEmail(desired.email);
            }
            return Ok(plan);
        }
        if desired.roles.is_empty() {
            return Err(PlanRefused::NoRole);
        }
        plan.step = Step::Provision(desired);
        Ok(plan)
    }

    /// Returns the attributes to send. Flex never removes an attribute. So if no source still states an attribute that
    /// Flexgate sent earlier, Flexgate sends it again with an empty value. For a reactivated user, Twilio creates a new
    /// worker without attributes, so Flexgate sends no empty values.
    fn attributes_change(&self, reactivates: bool) -> Option<WorkerAttributes> {
        let wanted = self.attributes.as_ref()?;
        let nothing = WorkerAttributes::default();
        let wanted = wanted.as_ref().unwrap_or(&nothing);
        let sent = self.given.attributes.as_ref().filter(|_| !reactivates).unwrap_or(&nothing);
        (wanted != sent).then(|| wanted.replacing(sent))
    }

    fn locale_change(&self, observed: Option<&FlexUser>) -> Option<Box<str>> {
        let wanted = self.locale.as_ref()?.as_deref().unwrap_or_default();
        let now = observed.and_then(|user| user.locale.as_deref()).unwrap_or_default();
        (!wanted.eq_ignore_ascii_case(now)).then(|| wanted.into())
    }
}

/// Returns the names of the fields that differ. Roles that Flexgate cannot give are not compared.
fn difference(user: &FlexUser, desired: &DesiredUser) -> Vec<&'static str> {
    let nothing = ObservedRoles::default();
    let roles = user.roles.as_ref().unwrap_or(&nothing).known();
    let differs = [
        ("email", user.email.as_deref() != Some(desired.email.as_str())),
        ("full_name", user.full_name.as_deref() != Some(desired.full_name.as_str())),
        ("roles", *roles != desired.roles),
        ("active", user.deactivated != Some(false)),
        ("attributes", desired.worker_attributes.is_some()),
    ];
    differs.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect()
}
