//! Ends a person's sessions when their identity system requests it.
//!
//! Sessions that began after the event's time continue. So a person who has signed in again keeps the new session, even
//! if the event arrives late or twice.

use std::sync::Arc;

use crate::domain::{FlexUserSid, IdentityEvent};
use crate::platform::Platform;
use crate::store::{EndingKey, SessionEndings, SessionKey, Sessions, StoreError};
use crate::users::FoundPeople;

/// Ends people's sessions.
#[derive(Debug, Clone)]
pub struct SessionEnder {
    endings: Arc<dyn SessionEndings>,
    sessions: Arc<dyn Sessions>,
}

impl SessionEnder {
    /// Creates a session ender that uses the platform's stores.
    #[must_use]
    pub fn of_platform(platform: &Platform) -> Self {
        Self { endings: platform.session_endings(), sessions: platform.sessions() }
    }

    /// Ends the person's sessions that began at the event's time or earlier, and returns them. The call is idempotent,
    /// and the order of events does not matter.
    ///
    /// First records the time under everything that identifies the person: Flex users, usernames, and the identity in
    /// the event. So even a session that is not found here is refused later.
    pub async fn end(
        &self,
        event: &IdentityEvent,
        found: &FoundPeople,
    ) -> Result<Vec<(FlexUserSid, SessionKey)>, StoreError> {
        let mut keys: Vec<EndingKey> = found.users.iter().cloned().map(EndingKey::FlexUser).collect();
        keys.extend(found.usernames.keys().cloned().map(EndingKey::Username));
        let username = event.profile.username.as_ref().map(|username| EndingKey::Username(username.key()));
        keys.extend(username.filter(|username| !keys.contains(username)));
        keys.extend(event.subject.identity().map(EndingKey::Identity));
        self.endings.record_ending(&keys, event.occurred_at).await?;
        let mut sessions = Vec::new();
        for user in &found.users {
            let ended = self.sessions.end_begun_by(user, event.occurred_at).await?;
            sessions.extend(ended.into_iter().map(|session| (user.clone(), session)));
        }
        Ok(sessions)
    }
}
