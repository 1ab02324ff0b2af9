//! Desired state, brought to Flex: read, compare, send only the difference.

use std::sync::Arc;

use crate::base::outbound::Deadline;
use crate::domain::{DesiredUser, FlexUser, FlexUserSid};
use crate::store::{Bindings, Sessions, StoreError};
use crate::twilio::{Flex, TwilioError};

/// Brings users to the state they should have.
#[derive(Debug)]
pub struct Provisioning {
    flex: Arc<Flex>,
    sessions: Arc<dyn Sessions>,
    bindings: Arc<dyn Bindings>,
}

/// What reconciling did.
#[derive(Debug)]
pub enum Reconciled {
    /// The user did not exist.
    Created(FlexUser),
    /// The user existed and was changed.
    Updated(FlexUser),
    /// The user was as desired; nothing was sent.
    Unchanged(FlexUser),
}

impl Reconciled {
    /// The user as it is now.
    #[must_use]
    pub fn user(&self) -> &FlexUser {
        let (Self::Created(user) | Self::Updated(user) | Self::Unchanged(user)) = self;
        user
    }

    /// The same, for keeps.
    #[must_use]
    pub fn into_user(self) -> FlexUser {
        match self {
            Self::Created(user) | Self::Updated(user) | Self::Unchanged(user) => user,
        }
    }
}

/// Why a user is not as desired.
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
    /// Provisioning over these.
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

    /// Reads ahead what a first call needs of Twilio's credential.
    pub async fn warm(&self, deadline: Deadline) {
        self.flex.warm(deadline).await;
    }

    /// Makes the user of `desired.username` as desired, creating it where it does not exist.
    pub async fn reconcile(&self, desired: &DesiredUser, deadline: Deadline) -> Result<Reconciled, ProvisioningError> {
        let Some(found) = self.flex.find(&desired.username, deadline).await? else {
            return Ok(Reconciled::Created(self.flex.provision(desired, deadline).await?));
        };
        // A search result often leaves out what the comparison needs.
        let existing = if found.is_complete() { found } else { self.flex.get(&found.flex_user_sid, deadline).await? };
        match existing.difference(desired) {
            None => Ok(Reconciled::Unchanged(existing)),
            Some(_) => Ok(Reconciled::Updated(self.flex.provision(desired, deadline).await?)),
        }
    }

    /// Deactivates the user, and ends what it still could use here: its sessions first, so that a
    /// failure leaves nobody signed in who should not be. Unbinding comes last: minting relies on a
    /// binding that is there after this to have been made from a user already deactivated.
    pub async fn deprovision(&self, user: &FlexUserSid, deadline: Deadline) -> Result<(), ProvisioningError> {
        self.sessions.end_all_of(user).await?;
        self.flex.deprovision(user, deadline).await?;
        self.sessions.end_all_of(user).await?;
        self.bindings.unbind(user).await?;
        Ok(())
    }
}
