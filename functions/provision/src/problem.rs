//! What each failure of provisioning means to the caller.

use flexgate::twilio::TwilioError;
use flexgate::users::ProvisioningError;
use flexgate::web::{Problem, kinds};

/// Twilio's codes for a body it does not like: validation, unprocessable, missing fields.
const BODY_CODES: [u32; 3] = [45_004, 45_008, 45_050];

/// Total: every failure has its problem.
pub(crate) fn of(error: &ProvisioningError) -> Problem {
    if let ProvisioningError::Twilio(TwilioError::Refused(api)) = error
        && let Some(code) = api.code.filter(|code| BODY_CODES.contains(code))
    {
        let detail =
            format!("Twilio does not take the user: error {code}, see https://www.twilio.com/docs/errors/{code}");
        return Problem::new(kinds::TWILIO_REFUSED, detail).because(error);
    }
    error.into()
}
