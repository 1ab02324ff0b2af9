//! Deactivates a user: in Flex, and by ending the sessions and bindings that they could still use here.

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

    /// Reads ahead the Twilio credential that the first call needs.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.flex.prewarm(deadline).await;
    }

    /// Deactivates the user and ends what they could still use here. It ends their sessions first, so that a failure
    /// leaves nobody signed in who should not be. It unbinds last, so that any binding seen later was made after the
    /// deactivation; minting relies on that.
    pub async fn deprovision(&self, user: &FlexUserSid, deadline: Deadline) -> Result<(), ProvisioningError> {
        self.sessions.end_all_of(user).await?;
        self.flex.deprovision(user, deadline).await?;
        self.sessions.end_all_of(user).await?;
        self.bindings.unbind(user).await?;
        Ok(())
    }
}
