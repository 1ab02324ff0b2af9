//! Why a statement was refused, or a person could not be reconciled.

use std::time::Duration;

use crate::domain::ledger::{AttachmentRefused, Claimable, PlanRefused, Source};
use crate::store::StoreError;
use crate::twilio::TwilioError;
use crate::users::ProvisioningError;

/// Why a statement was refused, or a person could not be reconciled. A refused statement is not stored. If a request to
/// Twilio fails, the statement may already be stored.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The username belongs to somebody else, or Flexgate cannot rule this out.
    #[error("the Flex user of that username belongs to another subject")]
    Attachment(#[from] AttachmentRefused),
    /// The Flex user is bound to another identity, or the identity is bound to another Flex user.
    #[error("the Flex user belongs to another subject: its binding is to another identity")]
    Bound,
    /// Nobody is bound to the Flex user yet, and the settings do not allow the issuer of the caller's token to bind
    /// anybody to this user.
    #[error("the issuer may not claim a user of {0} (may_claim)")]
    NotClaimable(Claimable),
    /// Flex requires a field or a role that no source provides.
    #[error("the person cannot be a Flex user")]
    Plan(#[from] PlanRefused),
    /// Another source says that the person is inactive.
    #[error("{0} says that the person is inactive")]
    InactiveBy(Source),
    /// The change would leave Flex without an active administrator.
    #[error("the last active administrator cannot be taken away")]
    LastAdmin,
    /// Twilio accepted the provisioning request but left the user deactivated.
    #[error("Twilio does not make the user active again")]
    StaysDeactivated,
    /// Another process is changing the person. That change takes at most this long.
    #[error("the person is being changed by somebody else")]
    Busy(Duration),
    /// A request to Twilio failed.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// An access to the store failed.
    #[error("the store")]
    Store(#[from] StoreError),
}

impl From<ProvisioningError> for LedgerError {
    fn from(error: ProvisioningError) -> Self {
        match error {
            ProvisioningError::Twilio(error) => Self::Twilio(error),
            ProvisioningError::Store(error) => Self::Store(error),
        }
    }
}

impl LedgerError {
    /// In every attempt, another process changed the person first. Such a change takes little time, so the caller can
    /// try again soon.
    pub(super) const LOST_RACE: Self = Self::Busy(Duration::from_secs(2));

    /// Whether a later attempt can succeed. It cannot succeed if Twilio, the policy or another source refused the
    /// change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Twilio(error) => !matches!(error, TwilioError::Refused(_) | TwilioError::Ambiguous),
            Self::Store(_) | Self::Busy(_) => true,
            Self::Attachment(_)
            | Self::Bound
            | Self::NotClaimable(_)
            | Self::Plan(_)
            | Self::InactiveBy(_)
            | Self::LastAdmin
            | Self::StaysDeactivated => false,
        }
    }
}
