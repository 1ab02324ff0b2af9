//! Finds the person whom a security signal names.
//!
//! A signal names a person by an id at the identity system, by an identity in tokens, or by an e-mail address. The
//! signal may come from a source that has never told the ledger about the person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::ledger::Source;
use crate::domain::{FlexUserSid, IdentityEvent, Username, UsernameKey};
use crate::platform::Platform;
use crate::store::{Bindings, PersonKey, StoreError, UsernameIndex, WhoIsWho};

/// Finds people in the ledger, the bindings and the username index. Only reads.
#[derive(Debug, Clone)]
pub struct PeopleFinder {
    who_is_who: Arc<dyn WhoIsWho>,
    bindings: Arc<dyn Bindings>,
    usernames: Arc<dyn UsernameIndex>,
}

/// The users and usernames that may belong to the person in a signal. There can be several users, for example if the
/// person got a new Flex user.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FoundPeople {
    /// The Flex users.
    pub users: BTreeSet<FlexUserSid>,
    /// The usernames, as Flex spells them.
    pub usernames: BTreeMap<UsernameKey, Username>,
}

impl FoundPeople {
    /// Whether nobody was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.usernames.is_empty()
    }
}

impl PeopleFinder {
    /// Makes a finder that uses the stores of a platform.
    #[must_use]
    pub fn of_platform(platform: &Platform) -> Self {
        Self { who_is_who: platform.who_is_who(), bindings: platform.bindings(), usernames: platform.usernames() }
    }

    /// Finds the person whom a signal names. Looks for the signal's person id at the signal's own source and at the
    /// source `people_of`. Also looks for the identity in tokens, and for the username. Returns everything that was
    /// found.
    pub async fn find(&self, event: &IdentityEvent, people_of: Option<&Source>) -> Result<FoundPeople, StoreError> {
        let subject = &event.subject;
        let own = Source::Webhook(event.source.clone());
        let claims = subject.issuer.clone().map(Source::Claims);
        let sources = [Some(own), people_of.cloned(), claims].into_iter().flatten();
        let mut keys: Vec<PersonKey> = sources.map(|source| PersonKey::Subject(source, subject.id.clone())).collect();
        let mut found = FoundPeople::default();
        if let Some(identity) = subject.identity()
            && let Some(user) = self.bindings.user_of(&identity).await?
        {
            keys.push(PersonKey::FlexUser(user.clone()));
            found.users.insert(user);
        }
        if let Some(username) = &event.profile.username {
            let key = username.key();
            for seen in self.usernames.seen(&key).await? {
                found.users.insert(seen.flex_user_sid);
                found.usernames.insert(seen.key, seen.username);
            }
            keys.push(PersonKey::Username(key));
        }
        for key in keys {
            if let Some(person) = self.who_is_who.who_is(&key).await? {
                found.users.extend(person.flex_user_sid);
                found.usernames.insert(person.username.key(), person.username);
            }
        }
        Ok(found)
    }
}
