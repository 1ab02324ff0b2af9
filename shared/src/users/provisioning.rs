//! Deactivates a user in Flex, and ends the user's sessions and bindings in Flexgate's own store.

use std::sync::Arc;

use crate::base::outbound::Deadline;
use crate::domain::FlexUserSid;
use crate::store::{Bindings, Sessions, StoreError};
use crate::twilio::{Flex, TwilioError};

/// The Flex client, and the stores of sessions and bindings.
#[derive(Debug)]
pub struct Provisioning {
    flex: Arc<Flex>,
    sessions: Arc<dyn Sessions>,
    bindings: Arc<dyn Bindings>,
}

/// Why a user could not be deactivated.
#[derive(Debug, thiserror::Error)]
pub enum ProvisioningError {
    /// A request to Twilio failed.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// An access to the store failed.
    #[error("the store")]
    Store(#[from] StoreError),
}

impl Provisioning {
    /// Makes a [`Provisioning`] from this client and these stores.
    #[must_use]
    pub fn new(flex: Arc<Flex>, sessions: Arc<dyn Sessions>, bindings: Arc<dyn Bindings>) -> Self {
        Self { flex, sessions, bindings }
    }

    /// Returns the Flex client.
    #[must_use]
    pub fn flex(&self) -> &Flex {
        &self.flex
    }

    /// Returns the store of sessions.
    #[must_use]
    pub fn sessions(&self) -> &dyn Sessions {
        self.sessions.as_ref()
    }

    /// Returns the store of bindings.
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
    /// The sessions end before and after the call to Twilio, because the call can fail, and because somebody can sign
    /// in during the call. The binding ends last, because minting relies on this: a binding that exists later was
    /// made after the deactivation.
    pub async fn deprovision(&self, user: &FlexUserSid, deadline: Deadline) -> Result<(), ProvisioningError> {
        self.sessions.end_all_of(user).await?;
        self.flex.deprovision(user, deadline).await?;
        self.sessions.end_all_of(user).await?;
        self.bindings.unbind(user).await?;
        Ok(())
    }
}
