//! What a user who could not be provisioned means to the caller.

use super::ProvisioningError;
use crate::web::Problem;

impl From<&ProvisioningError> for Problem {
    fn from(error: &ProvisioningError) -> Self {
        match error {
            ProvisioningError::Twilio(error) => error.into(),
            ProvisioningError::Store(error) => error.into(),
        }
    }
}
