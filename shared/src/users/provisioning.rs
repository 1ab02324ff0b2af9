//! Deactivates a user in Flex, and ends the user's sessions and bindings in Flexgate's own store.

use std::sync::Arc;
use std::time::Duration;

use crate::base::outbound::Deadline;
use crate::domain::FlexUserSid;
use crate::store::{Bindings, Sessions, StoreError};
use crate::twilio::{Flex, TwilioError};

/// How long Flexgate waits for a person's sessions to end, before it sends the requests that take the person's access
/// away.
const EARLY_END: Duration = Duration::from_secs(3);

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

    /// Ends the user's sessions before the slower requests that take the user's access away. The caller sends these
    /// requests even if this call fails or takes too long, and ends the sessions again afterwards.
    pub async fn end_sessions_early(&self, user: &FlexUserSid) {
        match tokio::time::timeout(EARLY_END, self.sessions.end_all_of(user)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "the sessions of a leaver end later"),
            Err(_) => tracing::warn!("a leaver has so many sessions that they end later"),
        }
    }

    /// Deactivates the user, and ends the user's sessions and binding in Flexgate.
    ///
    /// The sessions end before the call to Twilio, because the call can fail. They end again after the call, because
    /// somebody can sign in during the call. The binding ends last. So if a mint finds a binding afterwards, that
    /// binding was made after the deactivation. Minting relies on this order.
    pub async fn deprovision(&self, user: &FlexUserSid, deadline: Deadline) -> Result<(), ProvisioningError> {
        self.end_sessions_early(user).await;
        self.flex.deprovision(user, deadline).await?;
        self.sessions.end_all_of(user).await?;
        self.bindings.unbind(user).await?;
        Ok(())
    }
}
