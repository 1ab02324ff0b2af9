//! Converts provisioning errors into problem documents.

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
