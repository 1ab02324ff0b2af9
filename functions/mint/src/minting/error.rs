//! Why there is no token.

use std::time::Duration;

use flexgate::domain::ledger::AttachmentRefused;
use flexgate::domain::policy::{MintGrant, MintRefusal, NotAdmitted};
use flexgate::domain::{FlexUser, FlexUserSid};
use flexgate::store::StoreError;
use flexgate::twilio::TwilioError;
use flexgate::users::ledger::LedgerError;

use super::check::WrongToken;

/// A failed mint: the caller gets no token.
#[derive(Debug)]
pub struct Failed {
    pub error: MintError,
    /// Whether Twilio minted a token that Flexgate discarded.
    pub discarded: bool,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The policy refuses the request.
    #[error("the policy refuses")]
    Refused(#[from] MintRefusal),
    /// The caller has reached the limit of mints per minute.
    #[error("the limit of mints per minute is reached")]
    TooMany {
        /// The time until the caller may mint again.
        retry_after: std::time::Duration,
    },
    /// No Flex user has this username, and the policy does not allow creating one.
    #[error("there is no Flex user of that name, and none may be provisioned")]
    UserUnknown,
    /// The people ledger does not allow creating the user, or updating the user from the token's claims.
    #[error(transparent)]
    Ledger(LedgerError),
    /// The policy does not allow minting a token for the Flex user.
    #[error("{why}")]
    NotAdmitted {
        /// The refused user.
        user: FlexUserSid,
        /// The reason for the refusal.
        why: NotAdmitted,
    },
    /// An operator has stopped all sign-ins and tokens.
    #[error("an operator has locked the sign-in")]
    Locked,
    /// A source has reported the person as inactive.
    #[error("the people ledger holds the person inactive")]
    Inactive,
    /// The person's identity system ended the person's sessions after it issued the token, or the token does not say
    /// when it was issued.
    #[error("the person was signed out after the token was issued")]
    SignedOut,
    /// Another request is changing the person in the people ledger. The duration is the longest time for which that
    /// request can still keep the person locked.
    #[error("the person is being changed by somebody else")]
    Busy(Duration),
    /// The Flex user is bound to another identity, or the caller's identity is bound to another Flex user.
    #[error("the Flex user and the caller's identity do not belong together")]
    NotBound,
    /// Twilio minted a different token from the one requested. Flexgate discards that token and raises an alarm.
    #[error("Twilio minted a token that is not the one asked for: {0}")]
    WrongToken(WrongToken),
    /// Twilio failed.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store failed.
    #[error("the store")]
    Store(#[from] StoreError),
}

impl MintError {
    /// Whether a missing or unusable claim may have caused the error.
    #[must_use]
    pub fn may_come_from_claims(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::UserUnknown | Self::Ledger(_))
    }

    /// Returns the Flex user that the error concerns, if there is one.
    #[must_use]
    pub fn user(&self) -> Option<&FlexUserSid> {
        match self {
            Self::NotAdmitted { user, .. }
            | Self::Ledger(LedgerError::Attachment(AttachmentRefused::BroughtBack(user))) => Some(user),
            _ => None,
        }
    }
}

impl From<LedgerError> for MintError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Twilio(TwilioError::NotFound(_)) => Self::UserUnknown,
            LedgerError::Twilio(error) => Self::Twilio(error),
            LedgerError::Store(error) => Self::Store(error),
            LedgerError::Busy(wait) => Self::Busy(wait),
            LedgerError::InactiveBy(_) => Self::Inactive,
            LedgerError::Attachment(AttachmentRefused::Deactivated(user)) => {
                Self::NotAdmitted { user, why: NotAdmitted::Deactivated }
            }
            error => Self::Ledger(error),
        }
    }
}

/// Returns an error if the policy allows no token for the user. Every mint calls this function.
pub(super) fn admit(grant: &MintGrant, user: &FlexUser) -> Result<(), MintError> {
    grant.admits(user).map_err(|why| MintError::NotAdmitted { user: user.flex_user_sid.clone(), why })
}
