//! Maps an error from Twilio to a problem document.
//!
//! The caller never gets Twilio's status 401 or any text from Twilio.

use super::TwilioError;
use crate::web::{Kind, Problem, kinds};

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
            TwilioError::Intercepted(_) => (
                kinds::UNAVAILABLE,
                "A proxy or a firewall keeps Flexgate from reaching Twilio. Tell your administrator.",
            ),
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
