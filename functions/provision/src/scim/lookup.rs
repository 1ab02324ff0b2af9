//! Finds one user by `id`, or by username regardless of case.

use flexgate::base::outbound::Deadline;
use flexgate::domain::{FlexUserSid, Username};
use flexgate::store::scim::folded;
use flexgate::twilio::TwilioError;
use flexgate::users::ledger::View;

use super::person::Person;
use super::refusal::Refusal;
use super::users::Users;

impl Users {
    /// Returns the user with this `id`, unless the user was deleted.
    pub(super) async fn load(&self, id: &str, deadline: Deadline) -> Result<Person, Refusal> {
        let id: FlexUserSid = id.parse().map_err(|_| Refusal::Unknown)?;
        let entries = self.scim.entries(std::slice::from_ref(&id)).await?;
        let (own, other): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.id == id);
        let entry = own.into_iter().next();
        if entry.is_none() && !other.is_empty() {
            // This Flex user replaced the person's earlier Flex user. The person's `id` is still the SID of the earlier
            // one, so no SCIM user has the new SID as its `id`.
            return Err(Refusal::Unknown);
        }
        let current = entry.as_ref().map_or(&id, |entry| &entry.current).clone();
        let user = match self.provisioning.flex().get(&current, deadline).await {
            Err(TwilioError::NotFound(_)) => return Err(Refusal::Unknown),
            user => user?,
        };
        let memberships = self.scim.memberships(std::slice::from_ref(&id)).await?;
        let view = self.ledger.view(&user, entry.as_ref(), &memberships).await?;
        let person = Person { user, entry, memberships, view };
        if person.is_gone() { Err(Refusal::Unknown) } else { Ok(person) }
    }

    /// Reads the person's current state from the people ledger.
    pub(super) async fn look(&self, person: &mut Person) -> Result<(), Refusal> {
        person.view = self.ledger.view(&person.user, person.entry.as_ref(), &person.memberships).await?;
        Ok(())
    }

    pub(super) fn known(loaded: Result<Person, Refusal>) -> Result<Vec<Person>, Refusal> {
        match loaded {
            Ok(person) => Ok(vec![person]),
            Err(Refusal::Unknown) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns the user with this username, ignoring case. Makes only one search at Twilio. If the SCIM store
    /// contains the username, searches for the spelling in the SCIM store.
    pub(super) async fn named(&self, username: &Username, deadline: Deadline) -> Result<Option<Person>, Refusal> {
        let entry = self.scim.entry_named(username).await?;
        let spelt = entry.as_ref().map_or(username, |entry| &entry.username);
        let found = match (self.provisioning.flex().find_alike(spelt, deadline).await?, entry) {
            // Twilio's search results may leave out whether the user is active. If they do, read the user by SID.
            (Some(user), _) if !user.is_active() && !user.is_deactivated() => {
                Some(self.provisioning.flex().get(&user.flex_user_sid, deadline).await?)
            }
            (Some(user), _) => Some(user),
            // Twilio's search may omit inactive users, but SCIM must find them.
            (None, Some(entry)) if !entry.deleted => {
                return Ok(Self::known(self.load(entry.id.as_str(), deadline).await)?.pop());
            }
            (None, _) => None,
        };
        let mut person = self.visible(found.into_iter().collect()).await?.pop();
        if let Some(person) = &mut person {
            self.look(person).await?;
        }
        Ok(person)
    }

    /// Returns the user with this username, ignoring case, even if SCIM has deleted the user.
    pub(super) async fn anybody_named(
        &self,
        username: &Username,
        deadline: Deadline,
    ) -> Result<Option<Person>, Refusal> {
        let entry = self.scim.entry_named(username).await?;
        let lower: Option<Username> = folded(username.as_str()).parse().ok();
        let spelt = entry.as_ref().map(|entry| entry.username.clone());
        let mut spellings: Vec<Username> = spelt.into_iter().chain([username.clone()]).chain(lower).collect();
        spellings.dedup();
        for spelling in spellings {
            if let Some(user) = self.provisioning.flex().find_alike(&spelling, deadline).await? {
                let sid = std::slice::from_ref(&user.flex_user_sid);
                let entry = self.scim.entries(sid).await?.into_iter().find(|entry| entry.current == sid[0]);
                let id = entry.as_ref().map_or(&user.flex_user_sid, |entry| &entry.id).clone();
                let memberships = self.scim.memberships(&[id]).await?;
                return Ok(Some(Person { view: View::of_flex(&user), user, entry, memberships }));
            }
        }
        let Some(entry) = entry else { return Ok(None) };
        match self.provisioning.flex().get(&entry.current, deadline).await {
            Err(TwilioError::NotFound(_)) => Ok(None),
            user => {
                let user = user?;
                Ok(Some(Person { view: View::of_flex(&user), user, entry: Some(entry), memberships: Vec::new() }))
            }
        }
    }
}
