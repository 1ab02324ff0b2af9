//! Describes a Flex user according to the ledger.

use super::groups::{Kept, adopt};
use super::{Ledger, LedgerError};
use crate::domain::ledger::{Active, Explanation, Person, PersonId, Step, desired};
use crate::domain::{FlexUser, ObservedRoles};
use crate::store::PersonKey;
use crate::store::scim::{Entry, Membership};

/// A Flex user according to the ledger. A new statement changes this view at once, even before Flex is updated.
#[derive(Debug, Clone)]
pub struct View {
    /// Whether the person should be active.
    pub active: bool,
    /// The roles that the person should have. They include roles that were set by hand in Flex. So they are unknown
    /// (`None`) if Twilio's answer omits the user's roles.
    pub roles: Option<ObservedRoles>,
    /// The person in the ledger. `None` if no source has said anything about them.
    pub person: Option<Person>,
    /// The reasons why the person is active or inactive, and the reason for each role. `None` if no source has said
    /// anything.
    pub explanation: Option<Explanation>,
    /// Whether Flex shows the desired state. Also true if no source has said anything about the person.
    pub in_step: bool,
    /// The fields that differ but that Flexgate cannot change. See [`Report::blocked`](super::Report::blocked).
    pub blocked: Vec<&'static str>,
}

impl View {
    /// Makes a view from Flex's data alone.
    #[must_use]
    pub fn of_flex(user: &FlexUser) -> Self {
        Self {
            active: user.is_active(),
            roles: user.roles.clone(),
            person: None,
            explanation: None,
            in_step: true,
            blocked: Vec::new(),
        }
    }
}

impl Ledger {
    /// Describes the Flex user with the ledger's data. `entry` and `memberships` come from the SCIM store.
    pub async fn view(
        &self,
        user: &FlexUser,
        entry: Option<&Entry>,
        memberships: &[Membership],
    ) -> Result<View, LedgerError> {
        let keys = [PersonKey::FlexUser(user.flex_user_sid.clone()), PersonKey::Username(user.username.key())];
        let mut person = None;
        for key in &keys {
            if person.is_none() {
                person = self.people.person(key).await?.filter(|person| !person.superseded);
            }
        }
        let shown = View::of_flex(user);
        let kept = Kept { entry: entry.cloned(), memberships: memberships.to_vec() };
        // The SCIM store may contain data about somebody whom the ledger does not know yet.
        let unknown = || Person {
            flex_user_sid: Some(user.flex_user_sid.clone()),
            ..Person::new(PersonId::of(self.clock_rng.random()), user.username.clone())
        };
        let mut person = person.unwrap_or_else(unknown);
        let due = self.due(&person, &kept, None);
        for (source, statement) in due {
            adopt(&mut person, source, statement);
        }
        let Some(desired) = desired(&person, &self.policy, Some(user), &self.occasion()) else {
            return Ok(shown);
        };
        let plan = desired.plan(&person.username, Some(user)).ok();
        let in_step = plan.as_ref().is_some_and(|plan| plan.step == Step::Nothing && plan.locale.is_none());
        let names = desired.roles.iter().map(|role| role.as_str());
        let names = names.chain(desired.unspellable.iter().map(|name| &**name)).collect();
        Ok(View {
            active: match desired.active {
                Active::Yes => true,
                Active::No => false,
                Active::AsInFlex => shown.active,
            },
            roles: shown.roles.map(|_| names),
            person: Some(person),
            explanation: Some(desired.explanation),
            in_step,
            blocked: plan.map(|plan| plan.blocked).unwrap_or_default(),
        })
    }
}
