//! What a failure of something we depend on means to the caller, in every function alike.
//!
//! An upstream's 401 is never the caller's 401, and nothing an upstream wrote is passed on.

use super::problem::{Kind, Problem, kinds};
use crate::caller::CallerError;
use crate::provisioning::ProvisioningError;
use crate::secrets::SecretError;
use crate::signin::Fault;
use crate::store::StoreError;
use crate::twilio::TwilioError;

impl From<&TwilioError> for Problem {
    fn from(error: &TwilioError) -> Self {
        let (kind, detail): (&Kind, _) = match error {
            TwilioError::CredentialRejected(_) | TwilioError::PermissionMissing(_) | TwilioError::Secret(_) => (
                kinds::UNAVAILABLE,
                "Flexgate's access to Twilio does not work at the moment. Tell your administrator.",
            ),
            TwilioError::Busy(_) | TwilioError::Failing(_) | TwilioError::Unreachable(_) | TwilioError::Lost(_) => {
                (kinds::UNAVAILABLE, "Twilio is not available at the moment. Try again.")
            }
            TwilioError::Timeout => (kinds::TIMEOUT, "Twilio did not answer in time. Try again."),
            TwilioError::Ambiguous => {
                (kinds::USER_AMBIGUOUS, "Twilio knows several users of this username. Tell your administrator.")
            }
            TwilioError::NotFound(_) | TwilioError::Refused(_) | TwilioError::Malformed(_) | TwilioError::Foreign => {
                (kinds::UPSTREAM_INVALID, "Twilio's answer could not be used. Tell your administrator.")
            }
        };
        Self::new(kind, detail).because(error).retry_after(error.retry_after())
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        let detail = "Flexgate's store is not available at the moment. Try again.";
        Self::new(kinds::UNAVAILABLE, detail).because(error).retry_after(Some(std::time::Duration::from_secs(5)))
    }
}

impl From<&SecretError> for Problem {
    fn from(error: &SecretError) -> Self {
        let detail = "Flexgate's keys cannot be read at the moment. Try again.";
        Self::new(kinds::UNAVAILABLE, detail).because(error).retry_after(Some(std::time::Duration::from_secs(5)))
    }
}

impl From<&ProvisioningError> for Problem {
    fn from(error: &ProvisioningError) -> Self {
        match error {
            ProvisioningError::Twilio(error) => error.into(),
            ProvisioningError::Store(error) => error.into(),
        }
    }
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Twilio(error) => error.into(),
            Fault::Store(error) => error.into(),
            Fault::Keys(error) => {
                Self::new(kinds::UNAVAILABLE, "Flexgate's keys cannot be read at the moment. Try again.")
                    .because(error)
                    .retry_after(Some(std::time::Duration::from_secs(5)))
            }
            Fault::Seal => Self::new(kinds::INTERNAL, "Give the request's id to your administrator.").because(fault),
        }
    }
}

impl From<&CallerError> for Problem {
    fn from(error: &CallerError) -> Self {
        match error {
            CallerError::Missing => Self::new(
                kinds::TOKEN_INVALID,
                "Send one Authorization header: Bearer and a token of a trusted issuer.",
            ),
            // Which rule failed is for the log: a forger is told nothing.
            CallerError::Invalid(_) => {
                Self::new(kinds::TOKEN_INVALID, "The bearer token is not one that Flexgate accepts.").because(error)
            }
            CallerError::TooLarge => Self::new(kinds::TOO_LARGE, "A bearer token may have at most 8192 bytes."),
            CallerError::Unavailable { retry_after } => {
                Self::new(kinds::UNAVAILABLE, "The issuer's keys cannot be fetched at the moment. Try again.")
                    .because(error)
                    .retry_after(Some(*retry_after))
            }
        }
    }
}
