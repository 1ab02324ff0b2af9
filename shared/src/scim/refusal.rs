//! Why a SCIM request is not carried out.

use crate::domain::Role;
use crate::secrets::SecretError;
use crate::store::StoreError;
use crate::twilio::TwilioError;
use crate::users::ProvisioningError;

/// Why a SCIM request is not carried out. The texts are for the caller: what to do, in words of ours.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The body is not what this request takes.
    #[error("{0}")]
    InvalidSyntax(String),
    /// An attribute has a value it cannot have.
    #[error("{0}")]
    InvalidValue(String),
    /// A path names nothing that can be patched.
    #[error("{0}")]
    InvalidPath(String),
    /// The filter cannot be read, or not be used here.
    #[error("{0}")]
    InvalidFilter(String),
    /// The path is missing, or selects no value.
    #[error("{0}")]
    NoTarget(String),
    /// The attribute cannot be changed, or not be removed.
    #[error("{0}")]
    Mutability(String),
    /// The value is somebody else's.
    #[error("{0}")]
    Uniqueness(String),
    /// The cursor is not one of ours.
    #[error("The cursor is not one that Flexgate gave: begin again without a value for cursor.")]
    InvalidCursor,
    /// The cursor is too old.
    #[error("The cursor has expired: begin again without a value for cursor.")]
    ExpiredCursor,
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

impl From<ProvisioningError> for Refusal {
    fn from(error: ProvisioningError) -> Self {
        match error {
            ProvisioningError::Twilio(error) => Self::Twilio(error),
            ProvisioningError::Store(error) => Self::Store(error),
        }
    }
}

/// `name` must be something else.
pub(super) fn value(name: &str, must: impl std::fmt::Display) -> Refusal {
    Refusal::InvalidValue(format!("{name} {must}."))
}
