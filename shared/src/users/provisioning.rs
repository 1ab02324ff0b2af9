//! Deactivates a user in Flex, and ends the user's sessions and bindings in Flexgate's own store.

use std::sync::Arc;

use crate::base::outbound::Deadline;
use crate::domain::FlexUserSid;
use crate::store::{Bindings, Sessions, StoreError};
use crate::twilio::{Flex, TwilioError};

/// Flex's users, their sessions and their bindings.
#[derive(Debug)]
pub struct Provisioning {
    flex: Arc<Flex>,
    sessions: Arc<dyn Sessions>,
    bindings: Arc<dyn Bindings>,
}

/// Why a user could not be deactivated.
#[derive(Debug, thiserror::Error)]
pub enum ProvisioningError {
    /// Twilio.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store.
    #[error("the store")]
    Store(#[from] StoreError),
}

impl Provisioning {
    /// Provisioning with this client and these stores.
    #[must_use]
    pub fn new(flex: Arc<Flex>, sessions: Arc<dyn Sessions>, bindings: Arc<dyn Bindings>) -> Self {
        Self { flex, sessions, bindings }
    }

    /// The Flex client.
    #[must_use]
    pub fn flex(&self) -> &Flex {
        &self.flex
    }

    /// The sessions of signed-in people.
    #[must_use]
    pub fn sessions(&self) -> &dyn Sessions {
        self.sessions.as_ref()
    }

    /// Who is bound to which Flex user.
    #[must_use]
    pub fn bindings(&self) -> &dyn Bindings {
        self.bindings.as_ref()
    }

    /// Loads the Twilio credential before the first call needs it.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.flex.prewarm(deadline).await;
    }

    /// Deactivates the user, and ends the user's sessions and binding in Flexgate.
    ///
    /// The sessions end first, so that nobody stays signed in if the call to Twilio fails. They end once more after the
    /// call, because somebody may have signed in during the call. The binding is removed last. Minting relies on this
    /// order. If a mint still finds its binding afterwards, it knows that the binding was made after the deactivation.
    pub async fn deprovision(&self, user: &FlexUserSid, deadline: Deadline) -> Result<(), ProvisioningError> {
        self.sessions.end_all_of(user).await?;
        self.flex.deprovision(user, deadline).await?;
        self.sessions.end_all_of(user).await?;
        self.bindings.unbind(user).await?;
        Ok(())
    }
}
