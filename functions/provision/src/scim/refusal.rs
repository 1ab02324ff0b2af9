//! Why Flexgate refuses a SCIM request.

use std::time::Duration;

use flexgate::domain::Role;
use flexgate::domain::ledger::{AttachmentRefused, PlanRefused, Source};
use flexgate::secrets::SecretError;
use flexgate::store::StoreError;
use flexgate::twilio::TwilioError;
use flexgate::users::ledger::LedgerError;

use super::protocol::{ProtocolError, error};

/// Why Flexgate refuses a SCIM request. The message tells the client what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request violates the SCIM protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// Another resource already has this value.
    #[error("{0}")]
    Uniqueness(String),
    /// Flexgate cannot find all matches within the time of one request.
    #[error("Flexgate would have to read too many users. Filter by userName, id or externalId, or page with cursor.")]
    TooMany,
    /// There is no such resource.
    #[error("There is no such resource.")]
    Unknown,
    /// The resource changed after the client read it.
    #[error("The resource no longer has the version in If-Match. Read it again.")]
    Stale,
    /// Another request is changing the resource. The duration says how long, at most, that request can still take.
    #[error("Another request is changing the resource. Try again after the time in Retry-After.")]
    Busy(Duration),
    /// The settings do not allow this role.
    #[error("The role {0} is not among FLEXGATE_ALLOWED_ROLES.")]
    RoleForbidden(Role),
    /// Flex would have no administrator left.
    #[error("This is the last active administrator. Make somebody else admin first, or set FLEXGATE_SCIM_LAST_ADMIN.")]
    LastAdmin,
    /// Another source's statement makes the person inactive.
    #[error("{0} says that the person is inactive. Activate them there first.")]
    InactiveBy(Source),
    /// The person was deactivated, and the rest of the request was refused.
    #[error("the user was deactivated, and the rest of the request refused")]
    Partly(Box<Refusal>),
    /// The change would remove a role that Flexgate cannot give back.
    #[error("Flex shows a role that Flexgate cannot give, and changing {0} would remove it. Do that in the Console.")]
    Blocked(String),
    /// The user would be left without any role.
    #[error("The user would have no role: every Flex user needs one. See FLEXGATE_DEFAULT_ROLES.")]
    NoRole,
    /// Twilio did not reactivate the user.
    #[error("Twilio does not reactivate the user.")]
    StaysDeactivated,
    /// Twilio failed or refused the call.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store failed.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The secret with the token hashes is unreadable.
    #[error("the SCIM tokens")]
    Secret(#[from] SecretError),
}

impl Refusal {
    /// Every attempt at the request collided with another request. The client should try again soon.
    pub(super) const LOST_RACE: Self = Self::Busy(Duration::from_secs(2));
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Attachment(AttachmentRefused::Inactive(by)) | LedgerError::InactiveBy(by) => {
                Self::InactiveBy(by)
            }
            LedgerError::Attachment(_) | LedgerError::Bound | LedgerError::NotClaimable(_) => {
                Self::Uniqueness("Another person has this userName.".to_owned())
            }
            LedgerError::Plan(PlanRefused::NoRole) => Self::NoRole,
            LedgerError::Plan(refused @ PlanRefused::Incomplete(_)) => {
                ProtocolError::InvalidValue(format!("{refused}.")).into()
            }
            LedgerError::LastAdmin => Self::LastAdmin,
            LedgerError::StaysDeactivated => Self::StaysDeactivated,
            LedgerError::Busy(wait) => Self::Busy(wait),
            LedgerError::Twilio(error) => Self::Twilio(error),
            LedgerError::Store(error) => Self::Store(error),
        }
    }
}

/// Returns the refusal of an invalid value of the attribute `name`. In the message, the name is followed by `must`,
/// such as "is required".
pub(super) fn value(name: &str, must: impl std::fmt::Display) -> Refusal {
    error::value(name, must).into()
}
