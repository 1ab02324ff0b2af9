//! Why a SCIM request is not carried out.

use flexgate::domain::Role;
use flexgate::domain::ledger::{AttachmentRefused, PlanRefused, Source};
use flexgate::secrets::SecretError;
use flexgate::store::StoreError;
use flexgate::twilio::TwilioError;
use flexgate::users::ledger::LedgerError;

use super::protocol::{ProtocolError, error};

/// Why a SCIM request is not carried out. The texts are for the caller: what to do, in words of ours.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not SCIM as it should be.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The value is somebody else's.
    #[error("{0}")]
    Uniqueness(String),
    /// Finding everything that matches takes longer than a request may.
    #[error("Too many users must be read to answer this. Filter by userName, id or externalId, or page with cursor.")]
    TooMany,
    /// There is no such resource.
    #[error("There is no such resource.")]
    Unknown,
    /// The resource is not the one the caller last saw.
    #[error("The resource has changed since its version in If-Match. Read it again.")]
    Stale,
    /// Somebody else is changing the resource.
    #[error("The resource is being changed by another request. Try again.")]
    Busy,
    /// The policy gives nobody this role.
    #[error("The role {0} is not among FLEXGATE_ALLOWED_ROLES.")]
    RoleForbidden(Role),
    /// Nobody would be left to administer Flex.
    #[error("This is the last active administrator. Make somebody else admin first, or set FLEXGATE_SCIM_LAST_ADMIN.")]
    LastAdmin,
    /// Another source of the people ledger says that the person is inactive.
    #[error("{0} says that the person is inactive. Activate them there first.")]
    InactiveBy(Source),
    /// The person was deactivated, and the rest of the request refused.
    #[error("the user was deactivated, and the rest of the request refused")]
    Partly(Box<Refusal>),
    /// Flex shows a role that Flexgate cannot give, and would lose it if these fields were changed.
    #[error(
        "Flex shows a role that Flexgate cannot give, and changing {0} would take it away. Change that in the Console."
    )]
    Blocked(String),
    /// The user would be left without any role.
    #[error("The user would have no role: every Flex user needs one. See FLEXGATE_DEFAULT_ROLES.")]
    NoRole,
    /// Twilio did not reactivate the user.
    #[error("Twilio does not make the user active again.")]
    StaysDeactivated,
    /// Twilio.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The tokens.
    #[error("the SCIM tokens")]
    Secret(#[from] SecretError),
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Attachment(AttachmentRefused::Inactive(by)) | LedgerError::InactiveBy(by) => {
                Self::InactiveBy(by)
            }
            LedgerError::Attachment(_) | LedgerError::Bound => {
                Self::Uniqueness("Another person has this userName.".to_owned())
            }
            LedgerError::Plan(PlanRefused::NoRole) => Self::NoRole,
            LedgerError::Plan(refused @ PlanRefused::Incomplete(_)) => {
                ProtocolError::InvalidValue(format!("{refused}.")).into()
            }
            LedgerError::LastAdmin => Self::LastAdmin,
            LedgerError::StaysDeactivated => Self::StaysDeactivated,
            LedgerError::Busy => Self::Busy,
            LedgerError::Twilio(error) => Self::Twilio(error),
            LedgerError::Store(error) => Self::Store(error),
        }
    }
}

/// `name` must be something else.
pub(super) fn value(name: &str, must: impl std::fmt::Display) -> Refusal {
    error::value(name, must).into()
}
